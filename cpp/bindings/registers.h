#pragma once

#include <pybind11/pybind11.h>

namespace piste {

void register_build(pybind11::module_& module);       // ISA, threads, compiler
void register_activation(pybind11::module_& module);  // relu, ...
void register_pool(pybind11::module_& module);        // pooling
void register_conv(pybind11::module_& module);        // conv, its gradients
void register_linear(pybind11::module_& module);      // linear, its gradients
void register_norm(pybind11::module_& module);        // batch norm
void register_loss(pybind11::module_& module);        // losses, forward and backward
void register_sgd(pybind11::module_& module);         // the update of lists of arrays
void register_optimizer(pybind11::module_& module);   // Optimizer, Hyperparameters
void register_network(pybind11::module_& module);     // Network, Loss
void register_training(pybind11::module_& module);    // Training, TrainCall, Progress

}  // namespace piste
