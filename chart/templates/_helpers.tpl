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

{{/* Of objects that no namespace holds: two releases of one name may stand in two namespaces. */}}
{{- define "ringside.clustername" -}}
{{- $fullname := include "ringside.fullname" . }}
{{- if eq $fullname .Release.Namespace }}
{{- $fullname }}
{{- else }}
{{- printf "%s-%s" .Release.Namespace $fullname | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ringside.selector" -}}
app.kubernetes.io/name: {{ include "ringside.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "ringside.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "ringside.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ringside.serviceaccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ringside.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ringside.image" -}}
{{- with default .Values.image.registry .Values.global.imageRegistry }}{{ . }}/{{ end }}
{{- .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- define "ringside.pullsecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
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
