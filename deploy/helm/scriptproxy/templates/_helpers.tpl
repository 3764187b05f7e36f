{{- define "scriptproxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "scriptproxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "scriptproxy.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "scriptproxy.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "scriptproxy.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scriptproxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "scriptproxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "scriptproxy.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "scriptproxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "scriptproxy.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "scriptproxy.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "scriptproxy.tokensName" -}}
{{- default (printf "%s-tokens" (include "scriptproxy.fullname" .)) .Values.tokens.secretName -}}
{{- end -}}

{{/* The configuration: the values' config, with what the chart itself decides. */}}
{{- define "scriptproxy.config" -}}
{{- $c := deepCopy .Values.config -}}
{{- $host := ternary "127.0.0.1" "0.0.0.0" (eq .Values.mode "sidecar") -}}
{{- $tokens := dict "read_file" "/etc/scriptproxy/tokens/read" "admin_file" "/etc/scriptproxy/tokens/admin" -}}
{{- $_ := set $c "listen" (list (printf "%s:%v" $host .Values.ports.redis)) -}}
{{- $_ := set $c "admin" (dict "listen" (printf "0.0.0.0:%v" .Values.ports.admin) "tokens" $tokens) -}}
{{- if .Values.scripts -}}
{{- $_ := set $c "scripts" (merge (dict "dir" "/etc/scriptproxy/scripts") (default (dict) $c.scripts)) -}}
{{- end -}}
{{- if .Values.rules -}}
{{- $_ := set $c "policy" (merge (dict "rules_file" "/etc/scriptproxy/config/rules.yaml") (default (dict) $c.policy)) -}}
{{- end -}}
{{- if .Values.upstreamPassword.secretName -}}
{{- $_ := set $c.upstream "password_file" "/etc/scriptproxy/upstream/password" -}}
{{- end -}}
{{- if .Values.registryPassword.secretName -}}
{{- $_ := set $c.registry.redis "password_file" "/etc/scriptproxy/registry/password" -}}
{{- end -}}
{{- toYaml $c -}}
{{- end -}}

{{/* One container: of the tier's pods, and of the sidecar. */}}
{{- define "scriptproxy.container" -}}
name: scriptproxy
image: {{ include "scriptproxy.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, -config, /etc/scriptproxy/config/config.yaml]
ports:
  - {name: redis, containerPort: {{ .Values.ports.redis }}, protocol: TCP}
  - {name: admin, containerPort: {{ .Values.ports.admin }}, protocol: TCP}
# Not ready as soon as it begins to drain; alive until it has ended, so that nothing cuts the drain short.
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 1
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.preStopSeconds }}}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
  - {name: scriptproxy-config, mountPath: /etc/scriptproxy/config, readOnly: true}
  - {name: scriptproxy-tokens, mountPath: /etc/scriptproxy/tokens, readOnly: true}
  - {name: scriptproxy-state, mountPath: /var/lib/scriptproxy}
  {{- if .Values.scripts }}
  - {name: scriptproxy-scripts, mountPath: /etc/scriptproxy/scripts, readOnly: true}
  {{- end }}
  {{- if .Values.upstreamPassword.secretName }}
  - {name: scriptproxy-upstream, mountPath: /etc/scriptproxy/upstream, readOnly: true}
  {{- end }}
  {{- if .Values.registryPassword.secretName }}
  - {name: scriptproxy-registry, mountPath: /etc/scriptproxy/registry, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "scriptproxy.volumes" -}}
- name: scriptproxy-config
  configMap: {name: {{ include "scriptproxy.fullname" . | quote }}}
- name: scriptproxy-tokens
  secret: {secretName: {{ include "scriptproxy.tokensName" . | quote }}, defaultMode: 0440}
- name: scriptproxy-state
  emptyDir: {}
{{- if .Values.scripts }}
- name: scriptproxy-scripts
  configMap:
    name: {{ include "scriptproxy.fullname" . }}-scripts
    items:
      {{- range $name, $versions := .Values.scripts }}
      {{- range $version, $body := $versions }}
      - {key: {{ printf "%s__%s.lua" $name $version | quote }}, path: {{ printf "%s/%s.lua" $name $version | quote }}}
      {{- end }}
      {{- end }}
{{- end }}
{{- if .Values.upstreamPassword.secretName }}
- name: scriptproxy-upstream
  secret:
    secretName: {{ .Values.upstreamPassword.secretName | quote }}
    defaultMode: 0440
    items: [{key: {{ .Values.upstreamPassword.key | quote }}, path: password}]
{{- end }}
{{- if .Values.registryPassword.secretName }}
- name: scriptproxy-registry
  secret:
    secretName: {{ .Values.registryPassword.secretName | quote }}
    defaultMode: 0440
    items: [{key: {{ .Values.registryPassword.key | quote }}, path: password}]
{{- end }}
{{- end -}}
