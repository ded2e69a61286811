#include "plan/pricer.h"

#include <utility>

#include "energy/kernel_cost.h"
#include "energy/price.h"

namespace jouleprune::plan {
namespace {

class ProfilePricer : public Pricer {
 public:
  explicit ProfilePricer(Profile profile) : profile_(std::move(profile)) {}

  double joules(const Entry& entry, int64_t count) const override {
    return energy::price(entry, profile_, count).energy_j;
  }
  std::vector<std::string> candidates(const Entry& entry, const select::Pattern& pattern) const override {
    const bool blocks = pattern.kind == select::Pattern::Kind::kBlock;
    return energy::candidates(entry, profile_, blocks ? "block" : "unstructured");
  }
  bool zeros_save() const override { return energy::zeros_save(profile_); }
  std::string layout(const std::string& kernel) const override {
    // The device's own compression is no kernel of ours: the host may lay the weight out as it likes.
    return kernel == "zero-skip" ? "compressed" : std::string(energy::find_kernel(kernel).layout);
  }
  std::string device() const override { return profile_.name(); }
  std::string device_hash() const override { return profile_.hash(); }

 private:
  Profile profile_;
};

}  // namespace

std::shared_ptr<const Pricer> profile_pricer(Profile profile) {
  return std::make_shared<ProfilePricer>(std::move(profile));
}

}  // namespace jouleprune::plan
