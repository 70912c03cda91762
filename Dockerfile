# CoactSeg as a BIDS App.
#
#   docker build -t coactseg .                                              CPU
#   docker build -t coactseg:cuda --build-arg BASE_IMAGE=nvidia/cuda:12.8.1-base-ubuntu24.04 .
#
# TORCH_INDEX_URL chooses the build of torch: PyTorch's index for CPUs makes an image of a third of the size.
# HD_BET_WEIGHTS_URL and HD_BET_WEIGHTS_SHA256 bake in HD-BET's parameter files (docs/containers.md).
# The base is pinned to a full version; a release names its digest: --build-arg BASE_IMAGE=python@sha256:... (docs/containers.md).
ARG BASE_IMAGE=python:3.11.14-slim-bookworm
FROM ${BASE_IMAGE}
ARG BASE_IMAGE

ARG TORCH_INDEX_URL=""
ARG HD_BET_WEIGHTS_URL=""
ARG HD_BET_WEIGHTS_SHA256=""
ARG COACTSEG_DOCKER_TAG=""

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN if ! command -v python3 > /dev/null; then \
        apt-get update \
        && apt-get install -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    fi

WORKDIR /src
COPY . .
RUN hpc/install.sh && rm -rf /src/*

RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp coactseg
USER 10001:10001

# What a run needs to know; Singularity.def says the same (a test compares them). Caches go where a read-only root, a
# foreign user and a missing HOME do no harm.
ENV PATH=/opt/coactseg/bin:$PATH \
    LANG=C.UTF-8 \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/coactseg-cache/matplotlib \
    XDG_CACHE_HOME=/tmp/coactseg-cache \
    NUMBA_CACHE_DIR=/tmp/coactseg-cache/numba \
    TORCHINDUCTOR_CACHE_DIR=/tmp/coactseg-cache/torchinductor \
    COACTSEG_MODEL_DIR=/models \
    COACTSEG_HD_BET_WEIGHTS=/opt/coactseg/hd-bet
ENV HOME=/tmp \
    COACTSEG_DOCKER_TAG=${COACTSEG_DOCKER_TAG}

LABEL org.opencontainers.image.title="CoactSeg" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.description="All and new multiple sclerosis lesions on FLAIR MRI. Research use only." \
      org.opencontainers.image.licenses="MIT"

WORKDIR /tmp
ENTRYPOINT ["coactseg"]
CMD ["--help"]
