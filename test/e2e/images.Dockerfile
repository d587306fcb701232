# What the tests run in the cluster beside Ringside.
ARG BASE
FROM $BASE AS shop
# iptables: the stand-in for a mesh's redirect.
RUN apt-get update && apt-get install -y --no-install-recommends iptables && rm -rf /var/lib/apt/lists/*
COPY shop /usr/local/bin/
CMD ["shop"]

FROM $BASE AS prometheus
COPY prometheus /bin/
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
