# Why have latent dimensions collapsed? The verdict and the remedy of posterior_collapse(),
# from a list of numbers, `e`, the evidence:
#   n, p, k          observations, features, latent dimensions
#   collapsed        dimensions that have (eps, delta)-collapsed
#   own              the numbers of the representation are of the data of the fit
#   model            "ppca", "linear_vae" or "vae"
#   start            of training, "linear", "random" or NA
#   fixed            sigma2 was not learned
#   late             nor is it what it was in training, see tune_sigma2()
#   beta, beta_end   weight of the KL, and the last of its schedule, which training may end before
#   free_bits        nats that a dimension may have at no cost
#   sigma2, tuned    noise variance of the model, and the one that suits its representation
#                    best: one number, or one a feature
#   linear_sigma2    that of pPCA with the same k
#   trace            variance of all features together, on the scale of sigma2
#   gain             nats that the tuned noise variance gains
#   carried, carried_alone, carried_linear
#                    directions whose variance exceeds beta sigma2, sigma2, linear_sigma2
#   short            nats by which the ELBO is below the log-likelihood of pPCA
#   error            what sampling may do to the ELBO
#   allowance        nats by which it may be below for no reason, see allowance_of()
#   rise, second_half
#                    of the ELBO over the last tenth and the last half of training, see
#                    elbo_rise() and second_half_rise()
#   epochs, steps    of training; Inf steps where it has converged
#   kl, kl_warm, linear_kl
#                    of the model, the most in the second half of a warm-up that is over, and
#                    of pPCA with the same k
#   encoder_gain, encoder_kl
#                    nats that the encoder gains where it alone is trained, and the KL then
# NA where a number is not known; a rule that needs it is then not met.

# What the fit of `object` and `found`, see collapse_result(), say.
evidence_of <- function(object, found, trace) {
  deep <- inherits(object, "vae")
  known <- function(x) if (is.null(x)) NA_real_ else as.double(x)
  sigma2 <- mean(object$sigma2)
  elbo <- if (is.null(object$elbo)) object$loglik / object$n else object$elbo
  error <- if (deep) elbo_error(object) else 1e-6 * max(1, abs(elbo))
  collapsed <- sum(found$dimensions$collapsed)
  carried <- function(noise) as.double(directions_carried(object, noise)$count)
  list(
    n = object$n, p = object$p, k = object$k, collapsed = collapsed, own = found$own,
    model = class(object)[1], start = if (deep) object$arguments$start else NA_character_,
    fixed = object$fixed, late = object$fixed && isTRUE(object$tuned), beta = found$beta,
    beta_end = if (deep) last(object$arguments$beta) else found$beta,
    free_bits = if (deep) object$arguments$free_bits else 0,
    sigma2 = unname(object$sigma2), tuned = unname(found$tuned$sigma2),
    linear_sigma2 = found$linear$sigma2, trace = trace, gain = found$tuned$gain,
    carried = carried(found$beta * sigma2), carried_alone = carried(sigma2),
    carried_linear = if (is.na(found$linear$sigma2)) NA_real_ else carried(found$linear$sigma2),
    short = found$linear$elbo - elbo, error = error,
    allowance = allowance_of(object, collapsed, error),
    rise = elbo_rise(object), second_half = second_half_rise(object),
    epochs = as.double(object$iterations), steps = steps_of(object),
    kl = found$rate, kl_warm = warm_kl(object),
    linear_kl = found$linear$kl,
    encoder_gain = known(found$encoder$gain), encoder_kl = known(found$encoder$kl)
  )
}

# Steps of gradient ascent; otherwise none where an iteration was cut short.
steps_of <- function(object) {
  steps <- object$state$steps
  if (!is.null(steps)) steps else if (isFALSE(object$converged)) 0 else Inf
}

# The largest KL of an epoch in the second half of a warm-up, where that is over: a schedule
# of the weight of the KL that rose to its last value.
warm_kl <- function(object) {
  beta <- object$arguments$beta
  warm <- if (is.null(beta)) 0 else warmup_epochs(beta)
  history <- object$history
  if (warm == 0 || last(beta) < max(beta) || NROW(history) <= warm) return(NA_real_)
  max(history$kl[ceiling(warm / 2):warm])
}

# ---- rules -----------------------------------------------------------------

# More steps than this were tried.
FEW_STEPS <- 300

# The verdict is the first of these rules that is met.
diagnose <- function(e) {
  for (rule in RULES) {
    if (isTRUE(rule$holds(e))) {
      return(list(verdict = rule$verdict,
                  remedy = paste(c(rule$remedy(e), also_of(e, rule)), collapse = " ")))
    }
  }
}

# Below pPCA by more than chance and a twentieth of what pPCA's dimensions say.
below <- function(e) isTRUE(e$short > sum(e$allowance, e$linear_kl / 20, na.rm = TRUE))

# Few are one in twenty.
few_collapsed <- function(e) e$collapsed <= e$k / 20

# sigma2, of some feature, is more than a tenth away from the tuned value, which gains more than
# noise; above or below it in the geometric mean over features.
is_off <- function(e, way) {
  ratio <- log(e$sigma2 / e$tuned)
  e$gain > e$error && max(abs(ratio)) > log(1.1) && (mean(ratio) > 0) == (way == "above")
}

# The noise variance that there should be: pPCA's, or the tuned one.
best_sigma2 <- function(e) if (is.na(e$linear_sigma2)) mean(e$tuned) else e$linear_sigma2

# Nearly all have collapsed, or what is left of the KL is next to nothing.
nearly_all_collapsed <- function(e) {
  e$collapsed >= 0.9 * e$k || isTRUE(e$kl < 0.1 * e$linear_kl)
}

# How losses or units are suspected to be off, or NULL. With `best` the noise variance that
# there should be, and p of at least 10 where it counts (an ordinary beta or sigma2 may be off
# by less):
#   "beta"       beta is p, as where squared errors are averaged over features, or 1 / p, as
#                where the KL is: within a quarter
#   "pixels"     a fixed sigma2 is 255^2 times the best, or that part of it, within a factor of
#                2: data and sigma2 are on different scales of pixels
#   "features"   a fixed sigma2 is p or p / 2, which is what half a mean squared error over the
#                features, or a whole one, beside the KL stands for, and 10 times the best or more
#   "variance"   a fixed sigma2 exceeds the variance of all features together, so that no
#                direction whatever could be carried
unit_factor <- function(e) {
  near <- function(x, factor, within = 1.25) isTRUE(abs(log(x / factor)) <= log(within))
  many <- e$p >= 10
  if (many && (near(e$beta, e$p) || near(e$beta, 1 / e$p))) return("beta")
  if (!e$fixed) return(NULL)
  sigma2 <- mean(e$sigma2)
  ratio <- sigma2 / best_sigma2(e)
  if (near(ratio, 255^2, 2) || near(ratio, 255^-2, 2)) return("pixels")
  if (many && sigma2 %in% (e$p * c(0.5, 1)) && isTRUE(ratio >= 10)) return("features")
  if (isTRUE(sigma2 > e$trace)) "variance"
}

# What learning sigma2 gains: at this representation, and by the linear yardstick.
learning_gains <- function(e) {
  parts <- c(
    if (isTRUE(e$gain > 0)) sprintf("%s an observation with this representation (sigma2 = %s)",
                                    nats(e$gain), number(e$tuned)),
    if (below(e)) sprintf("%s to reach pPCA%s", nats(e$short),
                          if (is.na(e$linear_sigma2)) "" else
                            sprintf(" (sigma2 = %s)", number(e$linear_sigma2))))
  paste0(if (e$model == "ppca") "Leave `sigma2` out, so that it is learned" else
           "Learn it, `learn_sigma2 = TRUE`",
         if (length(parts)) paste0(": that gains ", paste(parts, collapse = ", and ")), ".")
}

carried_of <- function(count, e) sprintf("%.0f of %d", min(count, e$k), e$k)

RULES <- list(
  list(
    verdict = "units",
    holds = function(e) !is.null(unit_factor(e)),
    remedy = function(e) {
      what <- switch(unit_factor(e),
        beta = sprintf(paste("`beta` = %s is about %s: %s seems to have been averaged over the %d",
                             "features. Both terms are sums, `beta = 1`."), number(e$beta),
                       if (e$beta > 1) "the number of features" else "1 / the number of features",
                       if (e$beta > 1) "the squared error" else "the KL", e$p),
        variance = sprintf(paste("`sigma2` is fixed at %s, above the variance of all features",
                                 "together, %s: it belongs to data in other units, or to squared",
                                 "errors that are averaged instead of summed."),
                           number(e$sigma2), number(e$trace)),
        features = sprintf(paste("`sigma2` is fixed at %s, %s, where %s suits the data: squared errors",
                                 "seem to have been averaged over the features instead of summed."),
                           number(e$sigma2), if (mean(e$sigma2) == e$p) "the number of features" else
                             "half the number of features", number(best_sigma2(e))),
        pixels = sprintf(paste("`sigma2` is fixed at %s where %s suits the data, a factor of about",
                               "255^2: it seems to be for pixels from 0 to %s."),
                         number(e$sigma2), number(best_sigma2(e)),
                         if (mean(e$sigma2) > best_sigma2(e)) "255, and these to be divided by 255" else
                           "1, and these to be from 0 to 255"))
      if (e$fixed) paste(what, learning_gains(e)) else what
    }),
  list(
    verdict = "sigma2 fixed too large",
    holds = function(e) {
      loses <- isTRUE(min(e$carried_alone, e$k) < min(e$carried_linear, e$k)) && below(e)
      e$fixed && !e$late &&
        (isTRUE(is_off(e, "above")) || loses && isTRUE(mean(e$sigma2) > e$linear_sigma2))
    },
    remedy = function(e) {
      carries <- if (!anyNA(c(e$carried, e$carried_linear))) sprintf(
        ", where it can carry %s directions and pPCA's, %s, %s", carried_of(e$carried, e),
        number(e$linear_sigma2), carried_of(e$carried_linear, e))
      paste0("`sigma2` is fixed at ", number(e$sigma2), carries, ". ", learning_gains(e))
    }),
  list(
    verdict = "sigma2 tuned late",
    holds = function(e) e$late && below(e),
    remedy = function(e) {
      paste("`sigma2` was fixed in training and tuned afterwards, and the rest of the model suits",
            "the value that it had.", learning_gains(e))
    }),
  list(
    verdict = "beta",
    holds = function(e) {
      lost <- e$carried_alone - e$carried
      e$beta != 1 && below(e) || e$beta > 1 && e$collapsed > 0 && (is.na(lost) || lost > 0)
    },
    remedy = function(e) {
      lost <- e$carried_alone - e$carried
      paste0("The KL has the weight `beta` = ", number(e$beta),
             if (isTRUE(lost > 0)) {
               sprintf(": %.0f direction%s with a variance between sigma2 and beta sigma2 %s lost to it",
                       lost, if (lost == 1) "" else "s", if (lost == 1) "is" else "are")
             } else if (e$beta > 1 && isTRUE(min(e$carried, e$k) < min(e$carried_linear, e$k))) {
               sprintf(": with it sigma2 has come to %s, where it can carry %s directions and pPCA's, %s, %s",
                       number(e$sigma2), carried_of(e$carried, e), number(e$linear_sigma2),
                       carried_of(e$carried_linear, e))
             },
             if (e$beta_end != e$beta) {
               sprintf(". Training ended before it had come to %s: give more `epochs`.",
                       number(e$beta_end))
             } else ". Only `beta = 1` maximises the ELBO.")
    }),
  list(
    verdict = "free bits",
    holds = function(e) e$free_bits > 0 && below(e),
    remedy = function(e) {
      sprintf(paste("With `free_bits` = %s each dimension may have as many nats of KL at no cost to",
                    "the objective. The ELBO counts them: with `free_bits = 0` it is maximised."),
              number(e$free_bits))
    }),
  list(
    verdict = "encoder lags",
    holds = function(e) {
      e$encoder_gain > max(e$error, 0.01, if (below(e)) e$short / 10) && e$encoder_kl > e$kl &&
        (e$collapsed > 0 || below(e))
    },
    remedy = function(e) {
      paste0(sprintf(paste("With the decoder as it is, a better encoder gains %s an observation, and",
                           "the KL rises from %s to %s. "), nats(e$encoder_gain), number(e$kl),
                     number(e$encoder_kl)),
             if (e$model == "vae") "Train for longer, or give the encoder more units." else
               "Coordinate ascent, `optimizer = \"em\"`, has the best encoder in each round.")
    }),
  list(
    verdict = "sigma2 fixed too small",
    holds = function(e) e$fixed && !e$late && is_off(e, "below"),
    remedy = function(e) {
      paste0("It is not the noise variance that makes dimensions collapse: `sigma2` is fixed at ",
             number(e$sigma2), ", which is too small. ", learning_gains(e))
    }),
  list(
    verdict = "undertrained",
    holds = function(e) below(e) && e$steps < FEW_STEPS,
    remedy = function(e) train_longer(e)),
  list(
    verdict = "warm-up ended",
    holds = function(e) {
      below(e) && e$kl < 0.5 * e$kl_warm &&
        (!few_collapsed(e) || isTRUE(e$kl < 0.5 * e$linear_kl))
    },
    remedy = function(e) {
      sprintf(paste("The KL was %s nats while its weight rose, and is %s now that the weight is %s:",
                    "a warm-up delays a collapse. What lasts is to %s."),
              number(e$kl_warm), number(e$kl), number(e$beta), better_start(e))
    }),
  list(
    verdict = "sigma2 stuck",
    holds = function(e) {
      !e$fixed && nearly_all_collapsed(e) && below(e) && mean(e$sigma2) > 1.5 * e$linear_sigma2
    },
    remedy = function(e) {
      sprintf(paste("`sigma2` is learned but has stayed at %s, too large for the directions of the",
                    "data, and so none is learned. pPCA has %s: %s, which is worth %s an",
                    "observation or more."), number(e$sigma2), number(e$linear_sigma2),
              better_start(e), nats(e$short))
    }),
  list(
    verdict = "undertrained",
    holds = function(e) below(e) && (e$rise > 0 || e$second_half > e$short / 10),
    remedy = function(e) train_longer(e)),
  list(
    verdict = "none",
    holds = function(e) few_collapsed(e) && !below(e),
    remedy = function(e) {
      paste0("Nothing is wrong: ", if (e$collapsed == 0) "no dimension has collapsed" else
               sprintf("%d of %d dimensions ha%s collapsed", e$collapsed, e$k,
                       if (e$collapsed == 1) "s" else "ve"),
             if (!is.na(e$short)) {
               sprintf(", and the ELBO%s is %s below pPCA's", if (e$own) "" else
                 " of the data of the fit", if (e$short > e$error)
                   paste("no more than", nats(e$short)) else "not")
             }, ".")
    }),
  list(
    verdict = "surplus",
    holds = function(e) !below(e),
    remedy = function(e) surplus_remedy(e)),
  list(
    verdict = "unexplained",
    holds = function(e) TRUE,
    remedy = function(e) {
      paste0("The ELBO is ", nats(e$short), " below pPCA's, and neither sigma2 nor beta nor the ",
             "end of training says why. ",
             paste(c(find_out(e), paste0("What may help is to ", better_start(e), ".")),
                   collapse = " "))
    })
)

better_start <- function(e) {
  if (e$model == "ppca") return("start elsewhere, `em_control(start = )`")
  if (e$model == "linear_vae") return("start from pPCA, `start = \"pca\"`")
  if (e$start == "random") "start from pPCA and its sigma2, `start = \"linear\"`" else
    "leave `sigma2` to start at pPCA's, or take a smaller `learning_rate`"
}

find_out <- function(e) {
  if (e$model != "vae") return(NULL)
  if (is.na(e$encoder_gain)) {
    "Whether the encoder lags is told by posterior_collapse(fit, encoder_epochs = 20)."
  } else sprintf("The encoder does not lag: alone it gains %s.", nats(max(e$encoder_gain, 0)))
}

train_longer <- function(e) {
  sprintf("The ELBO is %s below pPCA's%s after %s: train for longer%s.", nats(e$short),
          if (e$rise > 0) {
            sprintf(" and was still rising, by %s over the last tenth of training,", nats(e$rise))
          } else if (e$second_half > 0) {
            sprintf(" and rose by %s in the second half of training,", nats(e$second_half))
          } else "",
          if (is.finite(e$steps) && e$steps > 0) sprintf("%.0f steps", e$steps) else
            sprintf("%.0f iterations", e$epochs),
          if (is.finite(e$steps) && e$steps > 0) sprintf(", update(fit, epochs = %.0f)",
                                                         2 * e$epochs) else
            ", with a larger `maxit`")
}

# More dimensions than the model has a use for.
surplus_remedy <- function(e) {
  if (!is.na(e$carried) && e$carried <= e$k - e$collapsed) {
    sprintf(paste("Nothing is wrong: the data have %.0f direction%s with more variance than the",
                  "noise, and the surplus has collapsed as it should."),
            e$carried, if (e$carried == 1) "" else "s")
  } else {
    paste(c(sprintf("Nothing is wrong that the ELBO shows: the model does with %d of %d dimensions%s.",
                    e$k - e$collapsed, e$k,
                    if (is.na(e$short)) "" else if (e$short < 0) " better than pPCA with all" else
                      sprintf(" nearly as well as pPCA with all, %s less", nats(e$short))),
            find_out(e)), collapse = " ")
  }
}

# What else there is to say where nothing is wrong.
also_of <- function(e, rule) {
  if (!rule$verdict %in% c("none", "surplus")) return(NULL)
  c(if (isTRUE(e$short > e$allowance)) {
    sprintf("To gain the %s, %s.", nats(e$short), better_start(e))
  },
  if (isTRUE(is_off(e, "above") || is_off(e, "below"))) {
    if (e$own) {
      sprintf("sigma2 lags behind its optimum: tune_sigma2(fit)$fit gains %s.", nats(e$gain))
    } else {
      sprintf("For these data another sigma2, %s, is better: tune_sigma2(fit, newdata)$fit gains %s.",
              number(e$tuned), nats(e$gain))
    }
  },
  if (e$beta != 1) sprintf("`beta` is %s, and the ELBO has weight 1.", number(e$beta)),
  if (e$rise > 0) {
    sprintf("The ELBO was still rising at the end, by %s over the last tenth of training.",
            nats(e$rise))
  })
}

# Eigenvalues beyond min(n, p) known ones are 0.
all_values_known <- function(object) length(object$values) >= min(object$n, object$p)

# How many directions of the data have a variance above that of the noise: at least so many
# where not all eigenvalues are known, and NA where none is.
directions_carried <- function(object, noise) {
  lambda <- object$values
  list(count = if (anyNA(lambda)) NA_integer_ else sum(lambda > noise),
       least = !anyNA(lambda) && !all_values_known(object) && all(lambda > noise))
}
