// The extension's table of contents; each area is in its register_*.cpp.

#include "registers.h"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "piste's C++ core. Private: use piste.functional, piste.nn and piste.Trainer.";
  piste::register_build(module);
  piste::register_activation(module);
  piste::register_pool(module);
  piste::register_conv(module);
  piste::register_linear(module);
  piste::register_norm(module);
  piste::register_loss(module);
  piste::register_sgd(module);
  piste::register_optimizer(module);
  piste::register_network(module);
  piste::register_training(module);
}
