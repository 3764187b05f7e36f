{{/*
For charts that have this one as a dependency, with mode: sidecar:

  initContainers:
    {{- include "scriptproxy.sidecar.initContainer" .Subcharts.scriptproxy | nindent 8 }}
  volumes:
    {{- include "scriptproxy.sidecar.volumes" .Subcharts.scriptproxy | nindent 8 }}

and in the pod's metadata

  annotations:
    {{- include "scriptproxy.sidecar.annotations" .Subcharts.scriptproxy | nindent 8 }}

The container starts before the others and ends after them (restartPolicy: Always among the init containers), so the program
beside it has its Redis at 127.0.0.1:6380 from its first to its last moment.
*/}}
{{- define "scriptproxy.sidecar.initContainer" -}}
- restartPolicy: Always
  {{- include "scriptproxy.container" . | nindent 2 }}
{{- end -}}

{{- define "scriptproxy.sidecar.volumes" -}}
{{- include "scriptproxy.volumes" . -}}
{{- end -}}

{{- define "scriptproxy.sidecar.annotations" -}}
checksum/scriptproxy-tokens: {{ include "scriptproxy.tokensName" . | sha256sum }}
{{- end -}}
