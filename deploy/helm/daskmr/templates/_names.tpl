{{- define "daskmr.name" -}}
{{- if contains "daskmr" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-daskmr{{ end }}
{{- end }}

{{- define "daskmr.selector" -}}
app.kubernetes.io/name: daskmr
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: listener
{{- end }}

{{- define "daskmr.labels" -}}
{{ include "daskmr.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "daskmr.account" -}}
{{- .Values.serviceAccount.name | default (include "daskmr.name" .) }}
{{- end }}

{{- define "daskmr.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "daskmr.scheduler" -}}
{{- if eq .Values.cluster.kind "operator" -}}
tcp://{{ include "daskmr.name" . }}-scheduler.{{ .Release.Namespace }}.svc:8786
{{- else if eq .Values.cluster.kind "gateway" -}}
gateway:{{ .Values.cluster.gateway }}
{{- end }}
{{- end }}

{{- define "daskmr.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}
