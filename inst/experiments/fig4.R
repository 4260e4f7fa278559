# Fig. 4 of Lucas et al. (2019): linear decoders with a linear, a deep linear and two
# nonlinear encoders, k = 200, on logit pixels: the ELBO over training, under the
# log-likelihood of pPCA, which none can exceed (Lemma 1).
#   Rscript fig4.R [ids] [settings]             see runner.R

source(system.file("experiments", "mnist.R", package = "elbo"), local = TRUE)

fig4_recipe <- list(n = 60000, k = 200, epochs = 100, batch_size = 100, rate_from = 1e-3,
                    rate_to = 1e-5, start = "random", sigma2 = 1,
                    sigma2_update = "gradient", alpha = 1e-6, deep = "512-256",
                    relu = "512-256", tanh = "512-256")

# The paper's values in the order of its legend, which the text does not give.
paper_fig4 <- c(-1098.2, -1108.7, -1112.1, -1119.6)

# The posterior of a linear decoder has the same variances for all x: linear encoders
# have them as numbers (`shared`), as in the paper's linear VAE, nonlinear ones as a
# second output.
fig4_jobs <- function(recipe) {
  usual <- recipe[setdiff(names(recipe), c("deep", "relu", "tanh"))]
  job <- function(id, widths, activation, variance) {
    c(list(id = id, seed = 1, widths = widths, activation = activation,
           latent_variance = variance), usual)
  }
  none <- list(epochs = "none", batch_size = "none", rate_from = "none", rate_to = "none",
               start = "none", sigma2 = "none", sigma2_update = "none")
  list(utils::modifyList(job("ppca", "none", "none", "none"), none),
       job("linear", "none", "identity", "shared"),
       job("deep-linear", recipe$deep, "identity", "shared"),
       job("relu", recipe$relu, "relu", "network"),
       job("tanh", recipe$tanh, "tanh", "network"))
}

fig4_run <- function(job, files) {
  x <- mnist_images(job$n)
  if (job$id == "ppca") return(list(fig4 = fig4_ppca(x, job)))
  made <- with_notes(train_job(
    x, job, files, encoder = widths_of(job$widths), decoder = integer(0),
    activation = job$activation, latent_variance = job$latent_variance, start = job$start,
    sigma2 = job$sigma2, sigma2_update = job$sigma2_update,
    transform = logit_pixels(job$alpha)))
  set.seed(job$seed + 1000)
  row <- measure(made$value, dequantise(x))$row
  list(fig4 = cbind(row, notes = made$notes),
       "fig4-history" = some_epochs(made$value$history[c("epoch", "elbo", "kl")]))
}

fig4_ppca <- function(x, job) {
  set.seed(job$seed)
  seconds <- system.time(fit <- ppca(x, job$k, transform = logit_pixels(job$alpha)))
  data.frame(elbo = as.numeric(logLik(fit)) / fit$n, final_sigma2 = fit$sigma2,
             seconds = seconds[["elapsed"]], notes = "")
}

# Lemma 1 and the paper's finding. An encoder outperforms the linear one if its ELBO is
# higher by more than `slack`, what the draws of noise and of z make of equals.
fig4_claims <- function(table, slack = 1) {
  of <- function(id) if (id %in% table$id) table$elbo[table$id == id] else NA
  others <- c(of("deep-linear"), of("relu"), of("tanh"))
  data.frame(
    statement = c("no ELBO exceeds the log-likelihood of pPCA",
                  "the linear encoder is not outperformed"),
    holds = c(max(of("linear"), others) <= of("ppca") + slack,
              max(others) <= of("linear") + slack)
  )
}

draw_fig4 <- function(table, history) {
  ids <- intersect(c("linear", "deep-linear", "relu", "tanh"), history$id)
  colours <- c(linear = "black", "deep-linear" = blue, relu = orange, tanh = green)[ids]
  roof <- table$elbo[table$id == "ppca"]
  end <- max(history$elbo, roof)
  # the first epochs are far below what there is to see
  late <- history$elbo[history$epoch > 0.1 * max(history$epoch)]
  frame(range(history$epoch), c(min(late), end), xlab = "Epochs",
        ylab = "ELBO, nats per image")
  abline(h = roof, lty = 2, col = grey)
  for (id in ids) {
    rows <- history[history$id == id, ]
    lines(rows$epoch, rows$elbo, col = colours[[id]], lwd = 2)
  }
  roofed <- length(roof) > 0
  legend("bottomright", bty = "n", lwd = 2, lty = c(rep(1, length(ids)), if (roofed) 2),
         col = c(colours, if (roofed) grey),
         legend = c(paste(sub("-", " ", ids), "encoder"), if (roofed) "log-likelihood of pPCA"))
}

if (sys.nframe() == 0L) {
  run_experiment("fig4", fig4_recipe, fig4_jobs, fig4_run)
  if (!is.null(stored("fig4-history"))) {
    save_picture(function() draw_fig4(stored("fig4"), stored("fig4-history")), "fig4")
  }
}
