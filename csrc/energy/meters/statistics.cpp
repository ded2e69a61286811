// Intervals of means.
#include <jouleprune/meters.h>

#include <cmath>
#include <numeric>
#include <stdexcept>

namespace jouleprune {
namespace {

constexpr double kPi = 3.14159265358979323846;

/// P(T <= t) for a whole number of degrees: the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
double student_cdf(double t, int degrees) {
  const double theta = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cosine = std::cos(theta), sine = std::sin(theta);
  double sum = 0, term = degrees % 2 == 1 ? cosine : 1;
  for (int k = degrees % 2 == 1 ? 1 : 0; k <= degrees - 2; k += 2) {
    sum += term;
    term *= cosine * cosine * (k + 1) / (k + 2);
  }
  const double inside = degrees % 2 == 1 ? 2 / kPi * (theta + (degrees > 1 ? sine * sum : 0)) : sine * sum;
  return 0.5 + 0.5 * inside;
}

}  // namespace

double student_t(double probability, int degrees) {
  if (!(probability > 0 && probability < 1)) {
    throw std::invalid_argument("student_t: probability: expected more than 0 and less than 1, got " +
                                std::to_string(probability));
  }
  if (degrees < 1)
    throw std::invalid_argument("student_t: degrees: expected at least 1, got " + std::to_string(degrees));
  double low = -1, high = 1;
  while (student_cdf(low, degrees) > probability) low *= 2;
  while (student_cdf(high, degrees) < probability) high *= 2;
  for (int step = 0; step < 100; ++step) {
    const double middle = (low + high) / 2;
    (student_cdf(middle, degrees) < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

Estimate mean_with_drift(const std::vector<double>& times, const std::vector<double>& samples, double confidence) {
  const size_t n = samples.size();
  if (n < 4 || times.size() != n) {
    throw std::invalid_argument("mean_with_drift: samples: expected at least 4 and a time for each, got " +
                                std::to_string(n) + " and " + std::to_string(times.size()) + " times");
  }
  const double count = static_cast<double>(n);
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / count;
  const double middle = std::accumulate(times.begin(), times.end(), 0.0) / count;
  double spread = 0, product = 0;
  for (size_t i = 0; i < n; ++i) {
    spread += (times[i] - middle) * (times[i] - middle);
    product += (times[i] - middle) * (samples[i] - mean);
  }
  const double slope = spread > 0 ? product / spread : 0;
  double squares = 0;
  for (size_t i = 0; i < n; ++i) {
    const double left = samples[i] - mean - slope * (times[i] - middle);
    squares += left * left;
  }
  const int degrees = static_cast<int>(n) - 2;
  const double half = student_t(0.5 + confidence / 2, degrees) * std::sqrt(squares / degrees / count);
  return {mean, mean - half, mean + half};
}

}  // namespace jouleprune
