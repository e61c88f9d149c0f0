#include <pybind11/stl.h>

#include "arrays.h"
#include "names.h"
#include "piste/optimizer.h"
#include "registers.h"

namespace piste {
namespace {

template <class T>
using Views = std::vector<View<T>>;

template <class T>
void check_rates(const Optimizer<T>& o, const View<const double>& rates,
                 const View<const double>& momenta) {
  const Index n = static_cast<Index>(o.options.size());
  check(rates.shape.rank() == 2 && rates.shape[1] == n && rates.size() > 0, "optimizer",
        "expected rows of ", n, " rates, got shape ", rates.shape);
  check(!momenta || momenta.size() == rates.shape[0], "optimizer", "expected ", rates.shape[0],
        " momenta, got ", momenta.size());
}

template <class T>
void define(py::module_& module, const char* name) {
  using O = Optimizer<T>;
  using Counters = typename O::Counters;
  py::class_<O>(module, name)
      .def(py::init(
               [](const std::string& rule, std::vector<typename O::States> states, Views<T> sums) {
                 O o;
                 o.rule = update_rule_named(rule);
                 o.options.resize(states.size());
                 o.states = std::move(states);
                 o.sums = std::move(sums);
                 check(o.sums.empty() || o.sums.size() == o.states.size(), "optimizer", "expected ",
                       o.states.size(), " sums, got ", o.sums.size());
                 return o;
               }),
           py::arg("rule"), py::arg("states"), py::arg("sums"), py::keep_alive<1, 3>(),
           py::keep_alive<1, 4>())
      .def(
          "set_averages",
          [](O& o, Views<T> sources, Views<T> means, double decay, Index start, Index every) {
            check(sources.size() == means.size(), "optimizer", "expected ", sources.size(),
                  " means, got ", means.size());
            for (std::size_t i = 0; i < means.size(); ++i)
              check(sources[i].size() == means[i].size(), "optimizer", "mean ", i, " has shape ",
                    means[i].shape, ", its source ", sources[i].shape);
            o.averages = {std::move(sources), std::move(means), decay, start, every, false};
          },
          py::arg("sources"), py::arg("means"), py::arg("decay"), py::arg("start"),
          py::arg("every"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
      .def("average", &O::average, py::call_guard<GilReleased>())
      .def("put_averages", &O::put_averages, py::arg("in_place"))
      .def_property_readonly("averages_in_place", [](const O& o) { return o.averages.in_place; })
      .def(
          "set_options",
          [](O& o, std::vector<Hyperparameters> options) {
            check(options.size() == o.states.size(), "optimizer", "expected ", o.states.size(),
                  " arrays' options, got ", options.size());
            o.options = std::move(options);
          },
          py::arg("options"))
      .def(
          "set_rates",
          [](O& o, View<const double> rates, View<const double> momenta) {
            o.counters.rates_used = 0;
            o.rates.clear();
            o.momenta.clear();
            if (!rates) return;
            check_rates(o, rates, momenta);
            o.rates.assign(rates.data, rates.data + rates.size());
            if (momenta) o.momenta.assign(momenta.data, momenta.data + momenta.size());
          },
          py::arg("rates"), py::arg("momenta") = py::none())
      .def_property_readonly("out_of_rates", &O::out_of_rates)
      .def_readwrite("clip_value", &O::clip_value)
      .def_readwrite("clip_norm", &O::clip_norm)
      .def_property(
          "accumulate", [](const O& o) { return o.accumulate; },
          [](O& o, Index batches) {
            check(batches >= 1 && (batches == 1 || o.sums.size() == o.states.size()), "optimizer",
                  "accumulating needs an array of sums for each parameter");
            o.accumulate = batches;
          })
      .def_property(
          "counters",
          [](const O& o) {
            const Counters& c = o.counters;
            return std::tuple(c.updates, c.gathered, c.divisor, c.averaged);
          },
          [](O& o, const std::tuple<Index, Index, double, Index>& values) {
            Counters& c = o.counters;
            std::tie(c.updates, c.gathered, c.divisor, c.averaged) = values;
          });
}

}  // namespace

void register_optimizer(py::module_& module) {
  using H = Hyperparameters;
  py::class_<H> h(module, "Hyperparameters");
  h.def(py::init<>());
  static constexpr std::pair<const char*, double H::*> numbers[] = {
      {"lr", &H::lr},
      {"weight_decay", &H::weight_decay},
      {"momentum", &H::momentum},
      {"dampening", &H::dampening},
      {"beta1", &H::beta1},
      {"beta2", &H::beta2},
      {"alpha", &H::alpha},
      {"eps", &H::eps},
      {"lr_decay", &H::lr_decay},
  };
  static constexpr std::pair<const char*, bool H::*> flags[] = {
      {"nesterov", &H::nesterov}, {"maximize", &H::maximize},   {"amsgrad", &H::amsgrad},
      {"centered", &H::centered}, {"decoupled", &H::decoupled},
  };
  for (const auto& [name, member] : numbers) h.def_readwrite(name, member);
  for (const auto& [name, member] : flags) h.def_readwrite(name, member);
  define<float>(module, "OptimizerF32");
  define<double>(module, "OptimizerF64");
}

}  // namespace piste
