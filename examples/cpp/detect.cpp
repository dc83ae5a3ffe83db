// Finds objects with a detector that tools/export.py has written as ONNX, and prints a table of them:
//
//     detect FOLDER SCORE OUTPUT PICTURE...    what scores SCORE or more; OUTPUT gets NAME_found.png of each picture

#include <onnxruntime_cxx_api.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <sstream>

#include "exported.hpp"

namespace fs = std::filesystem;

constexpr int kThreads = 2;
constexpr const char* kInput = "pixels";
constexpr std::array kOutputs{"boxes", "scores", "labels", "probs"};
const std::array kColours{cv::Scalar(53, 57, 230), cv::Scalar(96, 190, 46), cv::Scalar(245, 135, 66), cv::Scalar(37, 193, 255)};

struct Object {
    int label;
    float score;
    cv::Vec4f box;  // x1 y1 x2 y2 px of the picture
    cv::Mat mask;   // of the whole picture, 0 or 255
};

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

float number(const std::string& text, const std::string& name) {
    std::istringstream stream(text);
    float value;
    if (!(stream >> value) || !stream.eof()) fail(name + " is '" + text + "', which is no number");
    return value;
}

Ort::SessionOptions options() {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(kThreads).DisableMemPattern();  // patterns take the memory twice
    return options;
}

class Detector {
public:
    explicit Detector(const fs::path& folder)
        : told_(folder / "inference.yml"), session_(env_, (folder / "model.onnx").c_str(), options()) {
        const auto outputs = told_.list("outputs"), transforms = told_.list("transforms");
        for (const std::string name : kOutputs)
            if (std::find(outputs.begin(), outputs.end(), name) == outputs.end())
                fail(folder.string() + ": the model gives no " + name + "; this example is for detectors with masks");
        const auto shape = session_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();  // -1 for any
        if (shape[1] > 0) size_ = cv::Size(static_cast<int>(shape[2]), static_cast<int>(shape[1]));
        const auto how = cv::format("height: %d width: %d keep_ratio: false interpolation: linear", size_.height, size_.width);
        resizes_ = transforms.size() == 3 && transforms[1] == "ResizeFixed: " + how;
        if (transforms.empty() || transforms[0] != "ReadImage: exif: true range: null" || (transforms.size() != 2 && !resizes_))
            fail(folder.string() + ": this example reads 8 bits, and resizes, if at all, to the model's size alone, linearly");
        if (!told_.list("postprocess").empty()) std::fputs("note: the steps of postprocess are left out\n", stderr);
    }

    // What scores `least` or more in a picture (BGR, 8 bits), the best first.
    std::vector<Object> find(const cv::Mat& picture, float least) {
        cv::Mat pixels;
        cv::cvtColor(picture, pixels, cv::COLOR_BGR2RGB);
        if (resizes_) cv::resize(pixels, pixels, size_, 0, 0, cv::INTER_LINEAR);
        const int h = pixels.rows, w = pixels.cols;
        if (!size_.empty() && pixels.size() != size_)
            fail(cv::format("%dx%d px; the model was exported for %dx%d (height x width)", h, w, size_.height, size_.width));
        const std::array<std::int64_t, 4> shape{1, h, w, 3};
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto input = Ort::Value::CreateTensor<std::uint8_t>(memory, pixels.data, pixels.total() * 3, shape.data(), 4);
        const auto outputs = session_.Run(Ort::RunOptions{nullptr}, &kInput, &input, 1, kOutputs.data(), kOutputs.size());
        const auto *boxes = outputs[0].GetTensorData<float>(), *scores = outputs[1].GetTensorData<float>();
        const auto* labels = outputs[2].GetTensorData<std::int64_t>();
        const auto* probs = outputs[3].GetTensorData<float>();
        const auto sides = outputs[3].GetTensorTypeAndShapeInfo().GetShape();  // objects, cells, cells
        const auto x = static_cast<float>(w) / picture.cols, y = static_cast<float>(h) / picture.rows;
        std::vector<Object> found;
        for (std::int64_t i = 0; i < sides[0]; ++i, boxes += 4, probs += sides[1] * sides[2]) {
            const cv::Vec4f box(boxes[0] / x, boxes[1] / y, boxes[2] / x, boxes[3] / y);
            if (!std::isfinite(scores[i]) || !cv::checkRange(box)) fail("the model gives NaN or infinite numbers");
            if (scores[i] < least) continue;
            const auto mask = paste(probs, static_cast<int>(sides[2]), box.val, picture.rows, picture.cols, threshold_);
            found.push_back({static_cast<int>(labels[i]), scores[i], box, cv::Mat(mask, true).reshape(1, picture.rows)});
        }
        return found;
    }

    const std::string& name(const Object& object) const { return classes_.at(object.label); }

private:
    Description told_;
    std::vector<std::string> classes_ = told_.list("classes");
    float threshold_ = number(told_.value("mask_threshold"), "mask_threshold of inference.yml");
    Ort::Env env_{ORT_LOGGING_LEVEL_ERROR};
    Ort::Session session_;
    cv::Size size_;  // of the pixels, 0 for any
    bool resizes_;
};

void draw(cv::Mat& canvas, const Object& object, const std::string& name) {
    const auto& colour = kColours[object.label % kColours.size()];
    cv::Mat tinted = canvas.clone();
    tinted.setTo(colour, object.mask);
    cv::addWeighted(canvas, 0.6, tinted, 0.4, 0, canvas);
    const cv::Rect2f box(cv::Point2f(object.box[0], object.box[1]), cv::Point2f(object.box[2], object.box[3]));
    cv::rectangle(canvas, box, colour);
    const cv::Point2f above(box.x, std::max(12.0f, box.y - 4));
    cv::putText(canvas, name + cv::format(" %.2f", object.score), above, cv::FONT_HERSHEY_SIMPLEX, 0.5, colour);
}

void handle(Detector& detector, const fs::path& file, float least, const fs::path& target) {
    const auto begin = std::chrono::steady_clock::now();
    cv::Mat picture = fs::exists(file) ? cv::imread(file.string(), cv::IMREAD_COLOR | cv::IMREAD_ANYDEPTH) : cv::Mat();
    if (picture.empty() || picture.depth() != CV_8U) fail("there is no picture of 8 bits a channel that OpenCV reads");
    const auto found = detector.find(picture, least);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
    std::fprintf(stderr, "%s: %zu found, %.0f ms\n", file.string().c_str(), found.size(), taken.count());
    for (const auto& object : found) {
        const auto& name = detector.name(object);
        std::printf("%s\t%s\t%.5f\t", file.filename().string().c_str(), name.c_str(), object.score);
        for (const float side : object.box.val) std::printf("%.3f\t", side);
        std::printf("%d\n", cv::countNonZero(object.mask));
        draw(picture, object, name);
    }
    if (!cv::imwrite(target.string(), picture)) fail(target.string() + " cannot be written");
}

int main(int argc, char** argv) {
    std::string of;
    try {
        if (argc < 5) fail("usage: detect FOLDER SCORE OUTPUT PICTURE...");
        Detector detector(argv[1]);
        const auto least = number(argv[2], "SCORE");
        const fs::path output(argv[3]);
        fs::create_directories(output);
        std::puts("picture\tclass\tscore\tx1\ty1\tx2\ty2\tarea");
        for (const fs::path file : std::vector<std::string>(argv + 4, argv + argc)) {
            of = file.string() + ": ";
            handle(detector, file, least, output / (file.stem().string() + "_found.png"));
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s%s\n", of.c_str(), error.what());
        return 1;
    }
}
