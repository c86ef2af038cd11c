"""Engines used directly, as their own documentation does it: `python bare_loops.py ENGINE FILE SIDE`.

It makes as many calls as a line of standard input asks for (thrown away, then timed) and answers with a line of
milliseconds. Nothing of this project is imported.
"""

import json
import os
import sys
from time import perf_counter_ns

import numpy as np

ENGINE, FILE, SIDE = sys.argv[1], sys.argv[2], int(sys.argv[3])
IMAGE = np.random.default_rng(20).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)


def onnx():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(FILE, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": IMAGE})


def openvino():
    from openvino import Core

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = Core().read_model(FILE)
    model.reshape({"image": IMAGE.shape})
    request = Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer({"image": IMAGE})


def mnn():
    import MNN

    net = MNN.Interpreter(FILE)
    session = net.createSession({"backend": "CPU", "numThread": 1, "precision": "high"})
    entry = net.getSessionInput(session)
    net.resizeTensor(entry, IMAGE.shape)
    net.resizeSession(session)
    out = net.getSessionOutput(session)
    result = np.empty(out.getShape(), np.float32)

    def call():
        entry.copyFrom(MNN.Tensor(IMAGE.shape, MNN.Halide_Type_Float, IMAGE, MNN.Tensor_DimensionType_Caffe))
        net.runSession(session)
        host = MNN.Tensor(result.shape, MNN.Halide_Type_Float, result, MNN.Tensor_DimensionType_Caffe)
        out.copyToHostTensor(host)

    return call


def ncnn():
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(FILE)
    net.load_model(FILE.replace(".param", ".bin"))
    [entry], [exit_] = net.input_names(), net.output_names()

    def call():
        extractor = net.create_extractor()
        extractor.input(entry, ncnn.Mat(IMAGE[0]).clone())
        np.array(extractor.extract(exit_)[1])

    return call


def paddle():
    os.environ.update(FLAGS_enable_pir_api="0")
    from paddle import inference

    config = inference.Config(FILE, FILE.replace(".pdmodel", ".pdiparams"))
    config.disable_glog_info()
    config.enable_memory_optim()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(1)
    predictor = inference.create_predictor(config)
    entry = predictor.get_input_handle("image")
    exit_ = predictor.get_output_handle(predictor.get_output_names()[0])

    def call():
        entry.copy_from_cpu(IMAGE)
        predictor.run()
        exit_.copy_to_cpu()

    return call


os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])  # where the harness keeps its workers, too
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
call = {"onnx": onnx, "openvino": openvino, "mnn": mnn, "ncnn": ncnn, "paddle": paddle}[ENGINE]()
for line in sys.stdin:
    untimed, timed = map(int, line.split())
    for _ in range(untimed):
        call()
    times = []
    for _ in range(timed):
        start = perf_counter_ns()
        call()
        times.append((perf_counter_ns() - start) / 1e6)
    answers.write(json.dumps(times) + "\n")
    answers.flush()
