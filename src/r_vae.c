/* .Call entries for the deep VAE. Floats are held in raw vectors. */
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "r_glue.h"
#include "status.h"
#include "vae_train.h"

/* ---- arguments --------------------------------------------------------- */

/* n x p floats */
static const float *glue_floats(SEXP x, size_t n, size_t p, const char *what)
{
  double count = (double) n * (double) p;
  if (TYPEOF(x) != RAWSXP || (double) XLENGTH(x) != count * sizeof(float))
    Rf_error("internal error: `%s` is not %.0f floats", what, count);
  return (const float *) RAW(x);
}

static vae_chain glue_chain(SEXP width, SEXP activation)
{
  vae_chain c = {.count = (size_t) Rf_xlength(width)};
  if (TYPEOF(width) != INTSXP || TYPEOF(activation) != INTSXP ||
      c.count > VAE_MOST_LAYERS || XLENGTH(activation) != XLENGTH(width))
    Rf_error("internal error: a chain of layers is malformed");
  for (size_t i = 0; i < c.count; i++) {
    int w = INTEGER(width)[i], a = INTEGER(activation)[i];
    if (w < 1 || w > 1 << 24 || a < 0 || a >= ACTIVATIONS)
      Rf_error("internal error: a layer is out of range");
    c.width[i] = (size_t) w;
    c.activation[i] = (enum activation) a;
  }
  return c;
}

/* list(p, k, c, encoder, encoder_activation, decoder, decoder_activation, shared_d,
 * noise, fixed_noise, linear) */
static vae_net glue_net(SEXP shape)
{
  vae_shape s = {
    .p = glue_count(glue_element(shape, "p"), 1, 1 << 24, "p"),
    .k = glue_count(glue_element(shape, "k"), 1, 1 << 24, "k"),
    .c = glue_count(glue_element(shape, "c"), 0, 1 << 24, "c"),
    .encoder = glue_chain(glue_element(shape, "encoder"),
                          glue_element(shape, "encoder_activation")),
    .decoder = glue_chain(glue_element(shape, "decoder"),
                          glue_element(shape, "decoder_activation")),
    .shared_d = glue_flag(glue_element(shape, "shared_d"), "shared_d"),
    .noise = (enum vae_noise) glue_count(glue_element(shape, "noise"), 0, 2, "noise"),
    .fixed_noise = glue_flag(glue_element(shape, "fixed_noise"), "fixed_noise"),
    .linear = glue_flag(glue_element(shape, "linear"), "linear")};
  return vae_lay_out(&s);
}

/* list(alpha, levels, mu, unit), or NULL */
static const each_pixels *glue_pixels(SEXP from, size_t p)
{
  if (from == R_NilValue) return NULL;
  each_pixels *pixels = (each_pixels *) R_alloc(1, sizeof *pixels);
  pixels->alpha = glue_number(glue_element(from, "alpha"), "alpha");
  pixels->levels = (double) glue_count(glue_element(from, "levels"), 2, 1 << 24, "levels");
  pixels->mu = glue_floats(glue_element(from, "mu"), p, 1, "mu");
  pixels->unit = glue_floats(glue_element(from, "unit"), p, 1, "unit");
  if (!(pixels->alpha > 0.0 && pixels->alpha < 0.5))
    Rf_error("internal error: `alpha` is out of range");
  return pixels;
}

/* list(n, x, fill, condition) and, where x holds pixels, pixels */
static vae_data glue_vae_data(SEXP data, const vae_net *net)
{
  const vae_shape *s = &net->shape;
  vae_data d = {.n = glue_count(glue_element(data, "n"), 1, INT_MAX, "n"),
                .pixels = glue_pixels(glue_optional(data, "pixels", R_NilValue), s->p)};
  SEXP fill = glue_element(data, "fill"), condition = glue_element(data, "condition");
  d.x = glue_floats(glue_element(data, "x"), d.n, s->p, "x");
  if (fill != R_NilValue) d.fill = glue_floats(fill, s->p, 1, "fill");
  if (s->c > 0) d.condition = glue_floats(condition, d.n, s->c, "condition");
  return d;
}

/* One number for the noise, or one a feature. */
static const real *glue_noise(SEXP x, const vae_shape *s, const char *what)
{
  size_t count = s->noise == VAE_NOISE_SHARED ? 1 : s->p;
  const double *from = glue_matrix(x, count, 1, what);
  real *to = (real *) R_alloc(count, sizeof *to);
  for (size_t f = 0; f < count; f++) to[f] = (real) from[f];
  return to;
}

/* list(beta, free_bits, floor, square, samples, batch, key, threads) and, to train,
 * optimiser, learning_rate, momentum, clip, warm, weight_decay, follow, noise_rate and,
 * where a range of parameters is to stay, frozen: where it begins and ends, from 0 */
static vae_training glue_training(SEXP set, const vae_net *net, int train)
{
  vae_training t = {
    .model = {
      .beta = (real) glue_number(glue_element(set, "beta"), "beta"),
      .free_bits = (real) glue_number(glue_element(set, "free_bits"), "free_bits"),
      .floor = glue_noise(glue_element(set, "floor"), &net->shape, "floor"),
      .square = glue_noise(glue_element(set, "square"), &net->shape, "square"),
      .samples = glue_count(glue_element(set, "samples"), 1, INT_MAX, "samples"),
      .plan = glue_plan((int) glue_count(glue_element(set, "threads"), 0, 4096, "threads"))},
    .batch = glue_count(glue_element(set, "batch"), 1, INT_MAX, "batch"),
    .key = glue_key(glue_element(set, "key")), .poll = glue_interrupt};
  if (!train) return t;
  t.climb = (optimiser) {
    .kind = (enum optimiser_kind) glue_count(glue_element(set, "optimiser"), 0, 1,
                                             "optimiser"),
    .rate = glue_number(glue_element(set, "learning_rate"), "learning_rate"),
    .momentum = glue_number(glue_element(set, "momentum"), "momentum"),
    .clip = glue_number(glue_element(set, "clip"), "clip"),
    .warm = glue_number(glue_element(set, "warm"), "warm")};
  t.decay = glue_number(glue_element(set, "weight_decay"), "weight_decay");
  t.follow = glue_number(glue_element(set, "follow"), "follow");
  if (!(t.follow >= 0.0 && t.follow <= 1.0))
    Rf_error("internal error: `follow` is out of range");
  t.noise_rate = glue_number(glue_element(set, "noise_rate"), "noise_rate");
  SEXP frozen = glue_optional(set, "frozen", R_NilValue);
  if (frozen != R_NilValue) {
    const double *range = glue_matrix(frozen, 2, 1, "frozen");
    if (!(range[0] >= 0.0 && range[0] <= range[1] && range[1] <= (double) net->size))
      Rf_error("internal error: `frozen` is out of range");
    t.frozen_from = (size_t) range[0];
    t.frozen_to = (size_t) range[1];
  }
  return t;
}

/* Work space for batches of set->batch, no more than n. */
static real *glue_work(const vae_net *net, vae_training *set, size_t n, double **sums)
{
  if (set->batch > n) set->batch = n;
  double width = 8.0 * ((double) net->widest + (double) net->shape.p + (double) net->shape.k)
    * (VAE_MOST_LAYERS + 4.0);
  double most = (double) SIZE_MAX / 16.0 < 1e15 ? (double) SIZE_MAX / 16.0 : 1e15;
  if (width * (double) set->batch * (double) set->model.samples + (double) net->size > most)
    Rf_error("the model is too large: %.0f observations of %.0f samples at a time",
             (double) set->batch, (double) set->model.samples);
  *sums = glue_doubles(vae_epoch_sums(net, set->batch, set->model.samples));
  return (real *) R_alloc(vae_epoch_work(net, set->batch, set->model.samples), sizeof(real));
}

/* ---- data and sizes ---------------------------------------------------- */

/* A column of the layout: a tensor of theta. A vector has no inputs. */
static double *put_tensor(double *to, int part, const layer *l)
{
  to[0] = part;
  to[1] = (double) l->out;
  to[2] = (double) l->in;
  to[3] = l->biased;
  to[4] = (double) l->activation;
  to[5] = (double) l->offset;
  return to + 6;
}

/* The tensors of theta in their order, 6 x count: the part of the model (TENSORS in
 * R/layers.R), outputs, inputs, whether there are biases, activation and offset. */
SEXP C_vae_layout(SEXP shape)
{
  enum { ENCODER, MEAN, MEAN_LINEAR, LOG_VARIANCE, DECODER, OUTPUT, OUTPUT_LINEAR, LOG_SIGMA2 };
  vae_net net = glue_net(shape);
  const vae_shape *s = &net.shape;
  size_t count = s->encoder.count + s->decoder.count + 4 + (net.v.out > 0) + (net.w.out > 0);
  SEXP out = PROTECT(Rf_allocMatrix(REALSXP, 6, (int) count));
  double *to = REAL(out);
  layer log_d = {.out = s->k, .offset = net.log_d_offset};
  layer log_s2 = {.out = vae_noises(s), .offset = net.log_s2_offset};
  for (size_t i = 0; i < s->encoder.count; i++) to = put_tensor(to, ENCODER, &net.encoder[i]);
  to = put_tensor(to, MEAN, &net.mean);
  if (net.v.out > 0) to = put_tensor(to, MEAN_LINEAR, &net.v);
  to = put_tensor(to, LOG_VARIANCE, s->shared_d ? &log_d : &net.log_d);
  for (size_t i = 0; i < s->decoder.count; i++) to = put_tensor(to, DECODER, &net.decoder[i]);
  to = put_tensor(to, OUTPUT, &net.output);
  if (net.w.out > 0) to = put_tensor(to, OUTPUT_LINEAR, &net.w);
  put_tensor(to, LOG_SIGMA2, s->noise == VAE_NOISE_NETWORK ? &net.log_s2 : &log_s2);
  UNPROTECT(1);
  return out;
}

/* Numbers as floats, in a raw vector. */
SEXP C_as_float(SEXP x)
{
  size_t count = (size_t) Rf_xlength(x);
  const double *from = glue_matrix(x, count, 1, "x");
  SEXP out = PROTECT(Rf_allocVector(RAWSXP, (R_xlen_t) (count * sizeof(float))));
  float *to = (float *) RAW(out);
  for (size_t i = 0; i < count; i++) to[i] = (float) from[i];
  UNPROTECT(1);
  return out;
}

SEXP C_as_double(SEXP x)
{
  if (TYPEOF(x) != RAWSXP || XLENGTH(x) % (R_xlen_t) sizeof(float))
    Rf_error("internal error: `x` is not floats");
  size_t count = (size_t) XLENGTH(x) / sizeof(float);
  SEXP out = PROTECT(Rf_allocVector(REALSXP, (R_xlen_t) count));
  const float *from = (const float *) RAW(x);
  for (size_t i = 0; i < count; i++) REAL(out)[i] = (double) from[i];
  UNPROTECT(1);
  return out;
}

/* (x - mu) unit of all rows, or of those of `rows` (from 0), as floats, a row in each
 * column, NaN where a cell is missing; or NULL where one is so large that its square is
 * no float. */
SEXP C_vae_data(SEXP x, SEXP mu, SEXP unit, SEXP rows)
{
  elbo_data d = glue_data(x, mu, unit);
  glue_check_sizes(d.n, d.p, 1, 0);
  const int *some = rows == R_NilValue ? NULL : glue_rows(rows, d.n);
  size_t n = some ? (size_t) XLENGTH(rows) : d.n;
  SEXP out = PROTECT(Rf_allocVector(RAWSXP, (R_xlen_t) (n * d.p * sizeof(float))));
  double largest = data_floats(&d, some, n, (float *) RAW(out),
                               glue_doubles(data_floats_work(&d)));
  UNPROTECT(1);
  return largest < 1e18 ? out : R_NilValue;
}

SEXP C_fingerprint(SEXP x)
{
  if (TYPEOF(x) != RAWSXP) Rf_error("internal error: `x` is not raw");
  uint64_t hash = vae_fingerprint((size_t) XLENGTH(x), RAW(x));
  SEXP out = PROTECT(Rf_allocVector(RAWSXP, 8));
  for (int i = 0; i < 8; i++) RAW(out)[i] = (Rbyte) (hash >> (8 * i) & 0xFFu);
  UNPROTECT(1);
  return out;
}

/* ---- training ---------------------------------------------------------- */

static SEXP glue_terms(vae_terms t)
{
  static const char *names[] = {"reconstruction", "kl", "objective", "s2", "floored",
                                "jacobian"};
  double values[] = {t.reconstruction, t.kl, t.objective, t.s2, t.floored, t.jacobian};
  SEXP out = PROTECT(glue_list(names, 6));
  for (int i = 0; i < 6; i++) SET_VECTOR_ELT(out, i, Rf_ScalarReal(values[i]));
  UNPROTECT(1);
  return out;
}

/* The state after one epoch from list(theta, m, v, steps). */
SEXP C_vae_epoch(SEXP shape, SEXP data, SEXP state, SEXP epoch, SEXP settings)
{
  static const char *names[] = {"theta", "m", "v", "steps", "terms", "gradient_norm",
                                "step", "status"};
  vae_net net = glue_net(shape);
  vae_data d = glue_vae_data(data, &net);
  vae_training set = glue_training(settings, &net, 1);
  uint32_t number = (uint32_t) glue_count(epoch, 0, INT_MAX, "epoch");
  SEXP out = PROTECT(glue_list(names, 8));
  for (int i = 0; i < 3; i++) {
    SEXP from = glue_element(state, names[i]);
    glue_floats(from, i == 2 && set.climb.kind == OPTIMISER_SGD ? 0 : net.size, 1,
                names[i]);
    SET_VECTOR_ELT(out, i, Rf_duplicate(from));
  }
  optimiser_state at = {(real *) RAW(VECTOR_ELT(out, 0)), (real *) RAW(VECTOR_ELT(out, 1)),
                        (real *) RAW(VECTOR_ELT(out, 2)),
                        glue_number(glue_element(state, "steps"), "steps")};
  vae_progress progress;
  double *sums;
  real *work = glue_work(&net, &set, d.n, &sums);
  int status = vae_epoch(&net, &d, number, &set, &at, &progress, work, sums,
                         glue_ints(d.n));
  SET_VECTOR_ELT(out, 3, Rf_ScalarReal(at.steps));
  SET_VECTOR_ELT(out, 4, glue_terms(progress.terms));
  SET_VECTOR_ELT(out, 5, Rf_ScalarReal(progress.gradient_norm));
  SET_VECTOR_ELT(out, 6, Rf_ScalarReal((double) progress.step));
  SET_VECTOR_ELT(out, 7, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

/* ---- what a model says ------------------------------------------------- */

/* Terms of each observation, and their means; `error`: p sums. */
SEXP C_vae_evaluate(SEXP shape, SEXP data, SEXP theta, SEXP epoch, SEXP settings)
{
  static const char *names[] = {"reconstruction", "kl", "weighted", "error",
                                "kl_dimensions", "jacobian", "terms"};
  vae_net net = glue_net(shape);
  vae_data d = glue_vae_data(data, &net);
  vae_training set = glue_training(settings, &net, 0);
  const float *at = glue_floats(theta, net.size, 1, "theta");
  uint32_t number = (uint32_t) glue_count(epoch, 0, INT_MAX, "epoch");
  size_t lengths[] = {d.n, d.n, d.n, net.shape.p, net.shape.k, d.n};
  SEXP out = PROTECT(glue_list(names, 7));
  for (int i = 0; i < 6; i++)
    SET_VECTOR_ELT(out, i, Rf_allocVector(REALSXP, (R_xlen_t) lengths[i]));
  vae_observed to = {REAL(VECTOR_ELT(out, 0)), REAL(VECTOR_ELT(out, 1)),
                     REAL(VECTOR_ELT(out, 2)), REAL(VECTOR_ELT(out, 3)),
                     REAL(VECTOR_ELT(out, 5))};
  double *sums;
  real *work = glue_work(&net, &set, d.n, &sums);
  memset(to.error, 0, net.shape.p * sizeof *to.error);
  vae_terms terms = vae_evaluate(&net, at, &d, number, &set, &to,
                                 REAL(VECTOR_ELT(out, 4)), work, sums);
  SET_VECTOR_ELT(out, 6, glue_terms(terms));
  UNPROTECT(1);
  return out;
}

/* Means and variances of q(z | x), k x n; pixels get the noise of the last epoch that
 * there can be, which no training uses. */
SEXP C_vae_encode(SEXP shape, SEXP data, SEXP theta, SEXP settings)
{
  static const char *names[] = {"mean", "variance"};
  vae_net net = glue_net(shape);
  vae_data d = glue_vae_data(data, &net);
  vae_training set = glue_training(settings, &net, 0);
  const float *at = glue_floats(theta, net.size, 1, "theta");
  SEXP out = PROTECT(glue_list(names, 2));
  for (int i = 0; i < 2; i++)
    SET_VECTOR_ELT(out, i, Rf_allocMatrix(REALSXP, (int) net.shape.k, (int) d.n));
  double *sums;
  real *work = glue_work(&net, &set, d.n, &sums);
  vae_posterior(&net, at, &d, INT_MAX, &set, REAL(VECTOR_ELT(out, 0)),
                REAL(VECTOR_ELT(out, 1)), work, sums);
  UNPROTECT(1);
  return out;
}

/* Means and, if `variance`, noise variances of p(x | z), p x n, for z (k x n). */
SEXP C_vae_decode(SEXP shape, SEXP z, SEXP condition, SEXP theta, SEXP variance,
                  SEXP settings)
{
  static const char *names[] = {"mean", "variance"};
  vae_net net = glue_net(shape);
  vae_training set = glue_training(settings, &net, 0);
  size_t k = net.shape.k, n = (size_t) Rf_xlength(z) / k;
  const double *from = glue_matrix(z, k, n, "z");
  const float *at = glue_floats(theta, net.size, 1, "theta"), *given = NULL;
  if (net.shape.c > 0) given = glue_floats(condition, n, net.shape.c, "condition");
  int both = glue_flag(variance, "variance");
  if (n > INT_MAX) Rf_error("internal error: `z` has too many columns");
  SEXP out = PROTECT(glue_list(names, 2));
  for (int i = 0; i < 1 + both; i++)
    SET_VECTOR_ELT(out, i, Rf_allocMatrix(REALSXP, (int) net.shape.p, (int) n));
  double *sums;
  set.model.samples = 1;
  real *work = glue_work(&net, &set, n ? n : 1, &sums);
  vae_generate(&net, at, n, from, given, &set, REAL(VECTOR_ELT(out, 0)),
               both ? REAL(VECTOR_ELT(out, 1)) : NULL, work, sums);
  UNPROTECT(1);
  return out;
}
