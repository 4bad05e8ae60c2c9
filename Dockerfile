# Two images for a processor: `docker build --target inspect` or `--target app` (docs/installation.md).
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE requirements.lock ./
COPY .streamlit .streamlit
COPY checkpoints checkpoints
COPY skrd4ad skrd4ad
# the versions that were tested; hashes cannot be asked for beside a folder
RUN sed -n 's/^\([a-z0-9].*==[^\\]*\).*/\1/p' requirements.lock > /versions.txt \
    && python -m venv /opt/skrd4ad

FROM build AS build-inspect
# what computes on graphics cards and other units is 60 MB that a processor does not load
RUN /opt/skrd4ad/bin/pip install --no-cache-dir --constraint /versions.txt . \
    && /opt/skrd4ad/bin/pip uninstall --yes pip setuptools \
    && rm -f /opt/skrd4ad/lib/python*/site-packages/openvino/libs/libopenvino_intel_[gn]pu_plugin.so \
        /opt/skrd4ad/lib/python*/site-packages/openvino/libs/cache.json

FROM build AS build-app
ARG TORCH_CPU=https://download.pytorch.org/whl/cpu
RUN sed -n '/^torch\(vision\)\?==/p' /versions.txt > /torch.txt \
    && /opt/skrd4ad/bin/pip install --no-cache-dir --index-url ${TORCH_CPU} --requirement /torch.txt \
    && /opt/skrd4ad/bin/pip install --no-cache-dir --constraint /versions.txt '.[app]' \
    && /opt/skrd4ad/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim AS base
ENV PATH=/opt/skrd4ad/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 skrd4ad && mkdir /data && chown skrd4ad /data
WORKDIR /data
VOLUME /data

FROM base AS inspect
COPY --from=build-inspect /opt/skrd4ad /opt/skrd4ad
USER 1000
HEALTHCHECK --interval=5m --timeout=30s CMD ["skrd4ad", "models", "--json"]
ENTRYPOINT ["skrd4ad"]
CMD ["--help"]

FROM base AS app
# what the PDF of a report needs of the system, with fonts of every script
RUN apt-get update && apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
        fonts-dejavu-core fonts-noto-core fonts-wqy-microhei \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-app /opt/skrd4ad /opt/skrd4ad
USER 1000
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8501/_stcore/health', timeout=4)"]
# the network of the container; who can reach it is decided where its port is published
ENTRYPOINT ["skrd4ad", "app", "--address", "0.0.0.0", "--port", "8501", "--", "--server.headless=true"]
