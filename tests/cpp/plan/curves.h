// Synthetic networks: layers with curves of a known form, priced without any profile.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "plan/planner.h"
#include "plan/pricer.h"

namespace jouleprune::plan::testing {

/// Joules of a pruned layer by kept weights.
using Curve = std::function<double(int64_t kept)>;

struct CurveLayer {
  double dense_j = 0;
  std::vector<Curve> sparse;  // one per kernel: "sparse0", "sparse1", ...
};

/// Entry "l<i>" is priced by layer i.
class CurvePricer : public Pricer {
 public:
  CurvePricer(std::vector<CurveLayer> layers, bool zeros_save) : layers_(std::move(layers)), zeros_save_(zeros_save) {}

  double joules(const Entry& entry, int64_t count) const override {
    if (entry.weight.empty()) return 1.0 / static_cast<double>(count);
    const CurveLayer& layer = layers_[std::stoul(entry.weight.substr(1))];
    if (entry.kernel == "dense") return layer.dense_j / static_cast<double>(count);
    return layer.sparse[std::stoul(entry.kernel.substr(6))](entry.nnz) / static_cast<double>(count);
  }
  std::vector<std::string> candidates(const Entry& entry, const select::Pattern&) const override {
    std::vector<std::string> kernels;
    if (!zeros_save_) kernels.push_back("dense");
    const CurveLayer& layer = layers_[std::stoul(entry.weight.substr(1))];
    for (size_t i = 0; i < layer.sparse.size(); ++i) kernels.push_back("sparse" + std::to_string(i));
    return kernels;
  }
  bool zeros_save() const override { return zeros_save_; }
  std::string layout(const std::string& kernel) const override { return kernel == "dense" ? "dense" : "csr"; }
  std::string device() const override { return "synthetic"; }
  std::string device_hash() const override { return "0123"; }

 private:
  std::vector<CurveLayer> layers_;
  bool zeros_save_;
};

/// A network with its scores; `calls[i]`: how many entries use weight i.
struct Case {
  std::vector<CurveLayer> layers;
  std::vector<std::vector<float>> scores;
  std::vector<double> floors;
  std::vector<int> calls;
  bool zeros_save = false;

  Planner planner() const {
    Request request{{}, Profile(nullptr), "unstructured", "test", {}};
    const auto plain = [&] {
      Entry entry;
      entry.op = entry.name = "norm";
      request.workload.entries.push_back(entry);
    };
    plain();
    for (size_t i = 0; i < layers.size(); ++i) {
      Entry entry;
      entry.name = "layer" + std::to_string(i);
      entry.weight = "w" + std::to_string(i);
      entry.op = "linear";
      entry.dtype = "float32";
      entry.weight_elements = entry.nnz = static_cast<int64_t>(scores[i].size());
      for (int call = 0; call < calls[i]; ++call) {
        request.workload.entries.push_back(entry);
        plain();
      }
      request.weights.push_back({entry.weight, floors[i]});
    }
    return Planner(std::move(request), std::make_shared<CurvePricer>(layers, zeros_save));
  }
  std::vector<std::span<const float>> importance() const { return {scores.begin(), scores.end()}; }
};

/// Draws numbers the same way on every machine (the distributions of the standard library do not).
class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}
  double real() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  int64_t whole(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }

 private:
  std::mt19937_64 engine_;
};

enum class Form { kAffine, kConvex, kConcave, kStepped, kFlat };

/// A non-decreasing curve over [0, units] that ends near `top`.
inline Curve draw_curve(Draw& draw, Form form, int64_t units, double top) {
  const double base = top * draw.real() * 0.3;
  const double n = static_cast<double>(std::max<int64_t>(units, 1));
  switch (form) {
    case Form::kAffine:
      return [=](int64_t kept) { return base + (top - base) * (static_cast<double>(kept) / n); };
    case Form::kConvex: {
      const double power = 1 + 2 * draw.real();
      return [=](int64_t kept) { return base + (top - base) * std::pow(static_cast<double>(kept) / n, power); };
    }
    case Form::kConcave: {
      const double power = 0.3 + 0.7 * draw.real();
      return [=](int64_t kept) { return base + (top - base) * std::pow(static_cast<double>(kept) / n, power); };
    }
    case Form::kStepped: {
      const int64_t step = draw.whole(2, std::max<int64_t>(2, units / 2));
      return [=](int64_t kept) {
        return base + (top - base) * (static_cast<double>((kept + step - 1) / step * step) / n);
      };
    }
    case Form::kFlat:
      return [=](int64_t) { return base; };
  }
  return {};
}

enum class Scores { kSpread, kTied, kZeros };

inline std::vector<float> draw_scores(Draw& draw, Scores kind, int64_t units) {
  std::vector<float> scores(static_cast<size_t>(units));
  for (float& score : scores) {
    const double x = draw.real();
    score = static_cast<float>(x * x);
    if (kind == Scores::kTied) score = static_cast<float>(draw.whole(1, 2));
    if (kind == Scores::kZeros && draw.real() < 0.5) score = 0;
  }
  return scores;
}

/// A random network of up to `most_layers` layers and `most_units` weights each; `form`: of all curves.
inline Case draw_case(Draw& draw, Form form, int64_t most_layers, int64_t most_units) {
  Case made;
  made.zeros_save = draw.real() < 0.3;
  const int64_t layers = draw.whole(1, most_layers);
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t units = draw.whole(1, most_units);
    CurveLayer layer;
    const double top = 0.5 + 4 * draw.real();
    layer.sparse.push_back(draw_curve(draw, form, units, top));
    if (!made.zeros_save && draw.real() < 0.3)
      layer.sparse.push_back(draw_curve(draw, form, units, top * (0.7 + 0.6 * draw.real())));
    layer.dense_j = made.zeros_save ? layer.sparse[0](units) : top * (0.5 + 0.6 * draw.real());
    made.layers.push_back(std::move(layer));
    made.scores.push_back(draw_scores(draw, static_cast<Scores>(draw.whole(0, 2)), units));
    made.floors.push_back(draw.real() < 0.3 ? draw.real() * 0.5 : 0);
    made.calls.push_back(draw.real() < 0.2 ? 2 : 1);
  }
  return made;
}

}  // namespace jouleprune::plan::testing
