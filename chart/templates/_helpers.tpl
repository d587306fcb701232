{{- define "ringside.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "ringside.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Of all objects but those that have a value of their own for it: a parent's release may stand in a stricter namespace. */}}
{{- define "ringside.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* Of objects that no namespace holds: two releases of one name may stand in two namespaces. */}}
{{- define "ringside.clustername" -}}
{{- $fullname := include "ringside.fullname" . }}
{{- $namespace := include "ringside.namespace" . }}
{{- if eq $fullname $namespace }}
{{- $fullname }}
{{- else }}
{{- printf "%s-%s" $namespace $fullname | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ringside.selector" -}}
app.kubernetes.io/name: {{ include "ringside.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{/*
Labels of an object: (dict "root" . "more" LABELS "component" NAME). The chart's own go before those of the object, and these
before those of all objects: a key that is there twice is none that a server takes.
*/}}
{{- define "ringside.labels" -}}
{{- $selector := include "ringside.selector" .root | fromYaml }}
{{- with .component }}
{{- $_ := set $selector "app.kubernetes.io/component" . }}
{{- end }}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- $own := dict "helm.sh/chart" $chart "app.kubernetes.io/version" .root.Chart.AppVersion "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- toYaml (merge $selector $own (default dict .more) (default dict .root.Values.commonLabels)) }}
{{- end }}

{{- define "ringside.serviceaccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ringside.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Its user's go before the chart's own. */}}
{{- define "ringside.podannotations" -}}
{{- $own := dict "kubectl.kubernetes.io/default-container" "ringside" }}
{{- if and .Values.scrapeAnnotations (not (include "ringside.monitored" .)) }}
{{- $_ := set $own "prometheus.io/scrape" "true" }}
{{- $_ := set $own "prometheus.io/port" (toString .Values.port) }}
{{- $_ := set $own "prometheus.io/path" "/metrics" }}
{{- $_ := set $own "prometheus.io/scheme" (include "ringside.scheme" .) }}
{{- end }}
{{- toYaml (merge (dict) (default dict .Values.podAnnotations) $own) }}
{{- end }}

{{- define "ringside.image" -}}
{{- with default .Values.image.registry (.Values.global).imageRegistry }}{{ . }}/{{ end }}
{{- .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{/* A parent's global ones are names alone where its other charts want them so. */}}
{{- define "ringside.pullsecrets" -}}
{{- with concat (default list (.Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ .name }}{{ end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ringside.scheme" -}}
{{ ternary "https" "http" (or .Values.webConfig.tls .Values.webConfig.clientCertificates) }}
{{- end }}

{{/* Whether a monitor stands in the place of the annotations. */}}
{{- define "ringside.monitored" -}}
{{- if or .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}true{{ end }}
{{- end }}

{{/* Names by the service account, unless they come from elsewhere. */}}
{{- define "ringside.watches" -}}
{{- if not (or .Values.identities.configMapName .Values.kubeconfig.secretName) }}true{{ end }}
{{- end }}

{{- define "ringside.securitycontext" -}}
# Kubernetes gives capabilities to no other user, and these two are all that root has.
runAsUser: 0
runAsGroup: 0
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add:
    - BPF # to load the programs and make their maps
    - PERFMON # to attach them to the kernel's functions and read its memory
    {{- range .Values.extraCapabilities }}
    - {{ . }}
    {{- end }}
{{- if .Values.openshift.enabled }}
seccompProfile:
  type: Unconfined
seLinuxOptions:
  type: spc_t
{{- else }}
seccompProfile:
  {{- toYaml .Values.seccompProfile | nindent 2 }}
{{- end }}
{{- end }}

{{- define "ringside.probe" -}}
{{- if .root.Values.webConfig.clientCertificates -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: {{ .path }}
  port: metrics
  scheme: {{ include "ringside.scheme" .root | upper }}
{{- end }}
{{- with .times }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What a PodMonitor's and a ServiceMonitor's endpoint have alike. */}}
{{- define "ringside.endpoint" -}}
{{- $monitor := .monitor -}}
port: metrics
path: /metrics
scheme: {{ include "ringside.scheme" .root }}
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with $monitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  # A node's series go on where its pod is replaced.
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: instance
  - action: labeldrop
    regex: pod|container|endpoint|service
  {{- with $monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
metricRelabelings:
  # Ours is the counted pod's, not the agent's.
  - sourceLabels: [exported_namespace]
    regex: (.+)
    targetLabel: namespace
  - action: labeldrop
    regex: exported_namespace
  {{- with $monitor.metricRelabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
