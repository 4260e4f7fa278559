# Sections 3 and 5 of Lucas et al. (2019) on deep VAEs. "annealing": the share of
# collapsed dimensions during and after a warm-up of the KL's weight ("once regular ELBO
# training resumes the posterior will typically collapse again"), with a cyclic weight and
# with free bits. "pair": a weight beta of the KL at noise variance sigma2 against the
# weight 1 at beta sigma2. For
#   recon / (2 sigma2) - beta KL = beta [recon / (2 beta sigma2) - KL]
# the gradients of the first are beta times those of the second: the same steps where
# gradient ascent has a rate that is beta times smaller, or where Adam, which does not
# see the scale of the gradients, has the same rate.
#   Rscript annealing-mnist.R [ids] [settings]  see runner.R

source(system.file("experiments", "mnist.R", package = "elbo"), local = TRUE)

# `values` of a fixed sigma2; it is also learned from the first. `warmup` epochs, and
# `followed` rows whose collapse is measured after each epoch.
annealing_recipe <- list(values = "10,1", n = 60000, k = 200, widths = "512-256",
                         epochs = 60, warmup = 20, batch_size = 100, rate_from = 1e-3,
                         rate_to = 1e-5, sgd_rate = 1e-4, beta = 4, free_bits = 0.05,
                         followed = 2000, alpha = 1e-6)

annealing_jobs <- function(recipe) {
  usual <- recipe[setdiff(names(recipe), c("values", "sgd_rate", "beta", "free_bits"))]
  values <- as.numeric(strsplit(recipe$values, ",", fixed = TRUE)[[1]])
  job <- function(id, ...) {
    settings <- list(schedule = "none", optimizer = "adam", beta = 1, sigma2 = 1,
                     learn_sigma2 = FALSE, sigma2_update = "none", free_bits = 0)
    utils::modifyList(c(list(id = id, seed = 1), usual, settings), list(...))
  }
  annealed <- function(sigma2) {
    id <- function(what) paste0(what, "-", sigma2)
    list(job(id("plain"), sigma2 = sigma2),
         job(id("warmup"), sigma2 = sigma2, schedule = "warmup"),
         job(id("cyclic"), sigma2 = sigma2, schedule = "cyclic"),
         job(id("freebits"), sigma2 = sigma2, free_bits = recipe$free_bits))
  }
  learned <- list(job("plain-learned", sigma2 = values[1], learn_sigma2 = TRUE,
                      sigma2_update = "gradient"),
                  job("warmup-learned", sigma2 = values[1], learn_sigma2 = TRUE,
                      sigma2_update = "gradient", schedule = "warmup"))
  beta <- recipe$beta
  sgd <- list(optimizer = "sgd", rate_from = recipe$sgd_rate, rate_to = 0.01 * recipe$sgd_rate)
  slower <- utils::modifyList(sgd, list(rate_from = sgd$rate_from / beta,
                                        rate_to = sgd$rate_to / beta))
  pairs <- list(
    job("pair-adam-beta", beta = beta),
    job("pair-adam-sigma2", sigma2 = beta),
    do.call(job, c(list("pair-sgd-beta", beta = beta), slower)),
    do.call(job, c(list("pair-sgd-sigma2", sigma2 = beta), sgd)))
  c(do.call(c, lapply(values, annealed)), learned, pairs)
}

# The weight of the KL in each epoch.
weights_of <- function(job) {
  switch(job$schedule, none = job$beta,
         warmup = schedule_warmup(job$warmup, from = 0.01),
         cyclic = schedule_cyclic(job$epochs, cycles = 4, from = 0.01))
}

annealing_run <- function(job, files) {
  x <- mnist_images(job$n)
  given <- list(x, job, files, encoder = widths_of(job$widths), beta = weights_of(job),
                optimizer = job$optimizer, free_bits = job$free_bits, sigma2 = job$sigma2,
                learn_sigma2 = job$learn_sigma2, start = "random",
                transform = logit_pixels(job$alpha), callback = follow_collapse(x, job, files))
  if (job$learn_sigma2) given$sigma2_update <- job$sigma2_update
  made <- with_notes(do.call(train_job, given))
  fit <- made$value
  saveRDS(fit, files$fit, compress = FALSE)
  set.seed(job$seed + 1000)
  row <- measure(fit, dequantise(x))$row
  history <- with(fit$history, data.frame(
    epoch, weight = beta, elbo, kl, noise = sigma2, mse = history_mse(fit$history, fit$p)))
  followed <- utils::read.csv(files$records)
  history$collapsed <- followed$collapsed[match(history$epoch, followed$epoch)]
  list("annealing-mnist" = cbind(row, mse = utils::tail(history$mse, 1), notes = made$notes),
       "annealing-mnist-history" = history)
}

# A callback that writes the per cent collapsed, of the first rows, to a file after each
# epoch. Epochs that a killed run had made beyond its checkpoint are made again.
follow_collapse <- function(x, job, files) {
  set.seed(job$seed + 2000)
  rows <- dequantise(x[seq_len(min(nrow(x), job$followed)), ])
  path <- files$records
  if (!file.exists(files$checkpoint)) unlink(path)
  rm(x)
  function(epoch, metrics, fit) {
    # the percentage of posterior_collapse() without the rest of it, which takes longer
    # than an epoch of a small model
    q <- posterior(fit, rows)
    kl <- 0.5 * (q$variance - log(q$variance) + q$mean^2 - 1)
    now <- data.frame(epoch = epoch, collapsed = 100 * mean(colMeans(kl < 0.01) >= 0.99))
    old <- if (file.exists(path)) utils::read.csv(path)
    utils::write.csv(rbind(old[old$epoch < epoch, ], now), path, row.names = FALSE)
    TRUE
  }
}

# The paper's statements, for each sigma2 that is there; `history` as it is stored.
annealing_claims <- function(table, history) {
  at <- function(id, epoch) {
    rows <- history[history$id == id, ]
    if (nrow(rows)) rows$collapsed[match(epoch, rows$epoch)] else NA
  }
  warm <- table[table$schedule == "warmup", ]
  again <- vapply(seq_len(nrow(warm)), function(i) {
    lowest <- min(history$collapsed[history$id == warm$id[i] & history$epoch <= warm$warmup[i]])
    at(warm$id[i], warm$epochs[i]) > lowest
  }, NA)
  of <- function(id, what) if (id %in% table$id) table[[what]][table$id == id] else NA
  agree <- function(optimizer) {
    ids <- paste0("pair-", optimizer, c("-beta", "-sigma2"))
    abs(of(ids[1], "kl") - of(ids[2], "kl")) <= 0.02 * of(ids[2], "kl") &&
      abs(of(ids[1], "mse") - of(ids[2], "mse")) <= 0.02 * of(ids[2], "mse")
  }
  data.frame(
    statement = c(sprintf("%s: after the warm-up dimensions collapse again", warm$id),
                  "SGD: (beta, sigma2) and (1, beta sigma2) agree to 2 % in KL and error",
                  "Adam: (beta, sigma2) and (1, beta sigma2) agree to 2 % in KL and error"),
    holds = c(again, agree("sgd"), agree("adam"))
  )
}

draw_annealing <- function(history, sigma2) {
  names <- c(plain = "weight 1 throughout", warmup = "warm-up", cyclic = "cyclic",
             freebits = "free bits")
  colours <- c(blue, orange, green, "black")
  ids <- paste0(names(names), "-", sigma2)
  there <- ids %in% history$id
  title <- if (sigma2 == "learned") expression(paste(sigma^2, " learned, from 10")) else
    bquote(paste(sigma^2, " fixed at ", .(sigma2)))
  frame(range(history$epoch), c(0, 100), xlab = "Epochs", main = title,
        ylab = "Collapsed dimensions, per cent")
  for (i in which(there)) {
    rows <- history[history$id == ids[i], ]
    lines(rows$epoch, rows$collapsed, col = colours[i], lwd = 2)
  }
  warmup <- history[history$id == paste0("warmup-", sigma2), ]
  if (nrow(warmup)) abline(v = warmup$warmup[1], lty = 3, col = grey)
  legend("topright", bty = "n", lwd = 2, col = colours[there], legend = names[there], cex = 0.9)
}

draw_pairs <- function(history) {
  old <- par(mfrow = c(1, 2))
  on.exit(par(old))
  for (what in c("kl", "mse")) {
    rows <- history[grepl("^pair", history$id), ]
    rows <- rows[rows$epoch > 1, ]
    # room for the legend
    room <- if (what == "kl") 0.4 * diff(range(rows$kl)) else 0
    frame(range(rows$epoch), range(rows[[what]], max(rows[[what]]) + room), xlab = "Epochs",
          ylab = if (what == "kl") "KL, nats per image" else "Squared error per logit pixel")
    for (optimizer in c("adam", "sgd")) for (side in c("beta", "sigma2")) {
      one <- rows[rows$id == paste("pair", optimizer, side, sep = "-"), ]
      colour <- if (optimizer == "adam") blue else orange
      lines(one$epoch, one[[what]], col = if (side == "beta") colour else "black",
            lwd = if (side == "beta") 5 else 1.2)
    }
    if (what == "kl") {
      legend("topleft", bty = "n", cex = 0.85, lwd = c(5, 5, 1.2),
             col = c(blue, orange, "black"),
             legend = expression(paste("Adam, (", beta, ", ", sigma^2, ")"),
                                 paste("SGD, (", beta, ", ", sigma^2, "), rate / ", beta),
                                 paste("the same with (1, ", beta * sigma^2, ")")))
    }
  }
}

if (sys.nframe() == 0L) {
  run_experiment("annealing-mnist", annealing_recipe, annealing_jobs, annealing_run)
  history <- stored("annealing-mnist-history")
  for (sigma2 in unique(sub("^plain-", "", grep("^plain", history$id, value = TRUE)))) {
    save_picture(function() draw_annealing(history, sigma2), paste0("annealing-mnist-", sigma2))
  }
  if (any(grepl("^pair", history$id))) {
    save_picture(function() draw_pairs(history), "beta-sigma2", width = 9, height = 4)
  }
}
