# Haven's image of HAProxy with the file for OpenBao.
ARG HAPROXY=haven/haproxy:latest

# hadolint ignore=DL3006 # the tag is in HAPROXY
FROM ${HAPROXY}
COPY haproxy.cfg /etc/haproxy/haproxy.cfg
