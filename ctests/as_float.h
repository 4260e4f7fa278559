/* The training engine in float, as the package has it, compiled into the program that
 * includes this (before anything else): the other programs link it in double. Its
 * functions get other names, so that both fit into one program. */
#ifndef ELBO_TEST_AS_FLOAT_H
#define ELBO_TEST_AS_FLOAT_H

#undef ELBO_REAL_DOUBLE

#define each_activate float_each_activate
#define each_multiply float_each_multiply
#define each_gather float_each_gather
#define each_dequantise float_each_dequantise
#define each_normals float_each_normals
#define each_sample float_each_sample
#define each_compare float_each_compare
#define each_latent_slopes float_each_latent_slopes
#define each_adam float_each_adam
#define each_sgd float_each_sgd
#define each_squares float_each_squares
#define layer_size float_layer_size
#define layer_forward float_layer_forward
#define layer_backward float_layer_backward
#define optimiser_rate float_optimiser_rate
#define optimiser_climb float_optimiser_climb
#define optimiser_work float_optimiser_work
#define vae_lay_out float_vae_lay_out
#define vae_decay float_vae_decay
#define vae_work float_vae_work
#define vae_sums float_vae_sums
#define vae_noises float_vae_noises
#define vae_gradient float_vae_gradient
#define vae_encode float_vae_encode
#define vae_decode float_vae_decode
#define vae_observe float_vae_observe
#define vae_epoch float_vae_epoch
#define vae_epoch_work float_vae_epoch_work
#define vae_epoch_sums float_vae_epoch_sums
#define vae_evaluate float_vae_evaluate
#define vae_posterior float_vae_posterior
#define vae_generate float_vae_generate
#define vae_fingerprint float_vae_fingerprint

/* What is local to one source file and would clash with another, or with a test. */
#ifdef __GNUC__
# pragma GCC diagnostic push
# pragma GCC diagnostic ignored "-Wshadow"
#endif
#define multiply each_product
#define normals each_noises
#include "each.c"
#undef multiply
#undef normals
#include "layer.c"
#include "optimiser.c"
#define sample vae_sample
#define compare vae_compare
#define state vae_state
#include "vae.c"
#undef state
#undef sample
#undef compare
#define draw train_draw
#define most train_most
#include "vae_train.c"
#undef draw
#undef most
#ifdef __GNUC__
# pragma GCC diagnostic pop
#endif

#endif
