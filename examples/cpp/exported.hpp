// What an exported model's graph leaves to the program around it, in standard C++: `inference.yml` read, masks pasted.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

// The file as tools/export.py lays it out, a key or an item of a list in each line; it is no reader of YAML.
class Description {
public:
    explicit Description(const std::filesystem::path& file) {
        std::ifstream stream(file);
        if (!stream) throw std::runtime_error(file.string() + " cannot be read; give what tools/export.py has written");
        for (std::string line; std::getline(stream, line);) lines_.push_back(line.substr(0, line.find('\r')));
    }

    // The items of a list at the top, each with what is indented below it: "ReadImage: exif: true range: null".
    std::vector<std::string> list(const std::string& key) const {
        std::vector<std::string> items;
        auto line = std::find(lines_.begin(), lines_.end(), key + ":");
        if (line == lines_.end()) return items;
        while (++line != lines_.end() && !line->empty() && ((*line)[0] == '-' || (*line)[0] == ' ')) {
            if ((*line)[0] == '-') items.emplace_back(line->substr(2));
            else if (!items.empty()) items.back() += line->substr(line->find_first_not_of(' ') - 1);
        }
        for (auto& item : items) item = unquoted(item);
        return items;
    }

    // The value behind a key at any depth, "" where there is none.
    std::string value(const std::string& key) const {
        for (const auto& line : lines_) {
            const auto start = line.find_first_not_of(' ');
            if (start != std::string::npos && line.compare(start, key.size() + 2, key + ": ") == 0)
                return unquoted(line.substr(start + key.size() + 2));
        }
        return "";
    }

private:
    // Without the quotes of names such as 'no' or '12', which YAML would take for something else.
    static std::string unquoted(std::string text) {
        if (text.size() < 2 || text.front() != '\'' || text.back() != '\'') return text;
        text = text.substr(1, text.size() - 2);
        for (auto at = text.find("''"); at != std::string::npos; at = text.find("''", at + 1)) text.erase(at, 1);
        return text;
    }

    std::vector<std::string> lines_;
};

// Bilinear weights along one axis, (pixels, cells), from the first pixel touched. Cells span low to high, pixels 0 to limit.
struct Axis {
    Axis(float low, float high, int cells, int limit) {
        if (high <= low) return;
        const float margin = (high - low) / cells / 2;
        first = static_cast<int>(std::clamp(std::floor(low - margin - 0.5f), 0.0f, static_cast<float>(limit)));
        pixels = static_cast<int>(std::clamp(std::ceil(high + margin + 0.5f), 0.0f, static_cast<float>(limit))) - first;
        for (int pixel = 0; pixel < pixels; ++pixel) {
            const float unit = (first + pixel + 0.5f - low) / (high - low) * 2 - 1, place = ((unit + 1) * cells - 1) / 2;
            for (int cell = 0; cell < cells; ++cell) weights.push_back(std::max(0.0f, 1 - std::abs(place - cell)));
        }
    }
    int first = 0, pixels = 0;
    std::vector<float> weights;
};

using Mask = std::vector<std::uint8_t>;

// The mask (height, width), 255 where the probabilities (cells, cells), spanning the box x1 y1 x2 y2 px, reach the threshold.
inline Mask paste(const float* probs, int cells, const float* box, int height, int width, float threshold) {
    const Axis rows(box[1], box[3], cells, height), columns(box[0], box[2], cells, width);
    Mask mask(static_cast<std::size_t>(height) * width);
    std::vector<float> across(static_cast<std::size_t>(cells) * columns.pixels), soft(columns.pixels);
    for (int row = 0; row < cells; ++row)
        for (int x = 0; x < columns.pixels; ++x)
            for (int cell = 0; cell < cells; ++cell)
                across[row * columns.pixels + x] += probs[row * cells + cell] * columns.weights[x * cells + cell];
    for (int y = 0; y < rows.pixels; ++y) {
        std::fill(soft.begin(), soft.end(), 0.0f);
        for (int row = 0; row < cells; ++row)
            if (const float weight = rows.weights[y * cells + row]; weight > 0)
                for (int x = 0; x < columns.pixels; ++x) soft[x] += weight * across[row * columns.pixels + x];
        auto* target = mask.data() + static_cast<std::size_t>(rows.first + y) * width + columns.first;
        for (int x = 0; x < columns.pixels; ++x) target[x] = soft[x] >= threshold ? 255 : 0;
    }
    return mask;
}
