// Multiply-adds of a network by layer, counted as one each, or halved as some texts do.
#pragma once
#include <jouleprune/energy.h>

#include <map>
#include <string>

namespace jouleprune {

/// What a multiply-add counts: one, or half (the form of texts that count pairs of them).
enum class MacForm { kWhole, kHalved };

/// Multiply-adds that each layer issues in a forward pass, all its calls together, by name. Of a convolution:
/// output pixels x in_channels / groups x kernel x out_channels x batch; halved: the same / 2.
inline std::map<std::string, double> macs(const EnergyReport& report, MacForm form = MacForm::kWhole) {
  std::map<std::string, double> found;
  for (const LayerEnergy& layer : report.layers()) {
    found[layer.name] += layer.macs_issued * (form == MacForm::kHalved ? 0.5 : 1.0);
  }
  return found;
}

}  // namespace jouleprune
