{{/*
What the sidecar asks of its pod. Below `spec` of the pod's template:

  {{- include "portcullis.podSettings" . | nindent 6 }}
  securityContext:
    {{- include "portcullis.podSecurityContext" . | nindent 8 }}
  volumes:
    {{- include "portcullis.volumes" . | nindent 8 }}
*/}}

{{- define "portcullis.podSettings" -}}
# Else every Service of the namespace is told to the containers in variables like PORTCULLIS_PORT.
enableServiceLinks: false
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ include "portcullis.gracePeriodSeconds" . }}
{{- end -}}

{{- define "portcullis.podSecurityContext" -}}
runAsNonRoot: true
# The group that may read the mounted key.
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Folders as a whole: what is mounted with subPath never changes. Of Secrets with other things in them, the one key. */}}
{{- define "portcullis.volumes" -}}
- name: tls
  secret:
    secretName: {{ include "portcullis.tlsSecretName" . }}
    defaultMode: 0440
{{- range $index, $name := .Values.tls.extraSecrets }}
- name: tls-{{ add1 $index }}
  secret:
    secretName: {{ $name }}
    defaultMode: 0440
{{- end }}
{{- if ne .Values.clientAuth.mode "off" }}
{{- range $name := list "ca" "crl" }}
{{- $source := get $.Values.clientAuth $name }}
{{- if or $source.secret $source.configMap }}
- name: client-{{ $name }}
  {{- if $source.secret }}
  secret:
    secretName: {{ $source.secret }}
  {{- else }}
  configMap:
    name: {{ $source.configMap }}
  {{- end }}
    defaultMode: 0440
    items:
      - key: {{ $source.key }}
        path: {{ $source.key }}
{{- end }}
{{- end }}
{{- end }}
{{- with include "portcullis.ticketSeedSecretName" . }}
- name: ticket-seed
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - key: {{ $.Values.ticketSeed.key }}
        path: {{ $.Values.ticketSeed.key }}
{{- end }}
{{- with .Values.admin.tokenSecret }}
{{- if .name }}
- name: admin
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- end }}
{{- end }}
{{- end -}}

{{/* This chart's own: constraints, with a selector of the pods with these labels where they have none. */}}
{{- define "portcullis.spread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (last . | fromYaml)) -}}
{{- $made := list -}}
{{- range first . }}{{ $made = append $made (merge dict . (ternary dict $own (hasKey . "labelSelector"))) }}{{ end -}}
{{- toYaml $made -}}
{{- end -}}

{{/* Empty where the webhook is installed alone: then there are no pods that a policy could mean. */}}
{{- define "portcullis.hasPods" -}}
{{- if or .Values.workload.enabled (not .Values.webhook.enabled) (not .Chart.IsRoot) .Values.selectorLabels }}true{{ end -}}
{{- end -}}

{{- define "portcullis.podMetricsEndpoints" -}}
- port: probe
  path: /metrics
  {{- with .Values.podMonitor.interval }}
  interval: {{ . }}
  {{- end }}
{{- end -}}
