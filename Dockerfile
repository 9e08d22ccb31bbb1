# docker build -t ferkit . && docker run --rm -p 127.0.0.1:8000:8000 ferkit
FROM python:3.13-slim

# The default wheels of PyTorch include gigabytes of CUDA.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu

COPY pyproject.toml README.md LICENSE /src/
COPY ferkit /src/ferkit
RUN pip install --no-cache-dir "/src[onnx,serve]" && rm -r /src && useradd --create-home ferkit

USER ferkit
WORKDIR /home/ferkit
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]

# Arguments of `docker run` are added, such as the path of a model.
ENTRYPOINT ["ferkit", "serve", "--host", "0.0.0.0"]
