"""What XLA must know of a GPU to compile for it: text of its `GpuTargetConfigProto`.

The figures are those that the drivers of these GPUs report, as NVIDIA's data sheets and the specifications in XLA's
repository (`xla/backends/gpu/target_config/specs`) give them. The names of devices are those of `training.chips`.
"""

_FORM = """
gpu_device_info {{
  threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048
  shared_memory_per_block: 49152  shared_memory_per_core: {shared}  shared_memory_per_block_optin: {optin}
  core_count: {cores}  fpus_per_core: {units}  clock_rate_ghz: {clock}
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}  l2_cache_size: {cache}  device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} }}
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 8 }}
device_description_str: "{name}"
"""

_AMPERE = {"major": 8, "shared": 167936, "optin": 166912, "cores": 108, "units": 64, "clock": 1.41, "cache": 41943040}
_HOPPER = {"major": 9, "shared": 233472, "optin": 232448, "cores": 132, "units": 128, "clock": 1.98, "cache": 52428800}
_BLACKWELL = {**_HOPPER, "major": 10, "cores": 148, "clock": 1.965, "cache": 132644864}

GPUS: dict[str, str] = {
    name: _FORM.format_map({**generation, "name": kind, "bandwidth": bandwidth, "memory": memory})
    for name, kind, generation, bandwidth, memory in (
        ("a100", "NVIDIA A100-SXM4-80GB", _AMPERE, 2039040000000, 85100068864),
        ("a100-40gb", "NVIDIA A100-SXM4-40GB", _AMPERE, 1555200000000, 42273669120),
        ("h100", "NVIDIA H100 80GB HBM3", _HOPPER, 3352320000000, 84942979072),
        ("h200", "NVIDIA H200", _HOPPER, 4800000000000, 151397597184),
        ("b200", "NVIDIA B200", _BLACKWELL, 7672320000000, 191514411008),
    )
}
