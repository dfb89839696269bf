{{/*
The end of a pod: the app is kept from its SIGTERM while the sidecar drains, and both fit into the grace period.

  terminationGracePeriodSeconds: {{ include "portcullis.gracePeriodSeconds" . }}
  containers:
    - name: app
      lifecycle:
        {{- include "portcullis.preStop" . | nindent 8 }}

`portcullis.podSettings` has the first. What does not add up fails here, with the numbers.
*/}}

{{/* What a drain may take: a second is for the last words. */}}
{{- define "portcullis.drainSeconds" -}}
{{- $exporter := dig "trace-exporter" "off" (.Values.options | default dict) -}}
{{- add .Values.drain.delaySeconds .Values.drain.timeoutSeconds (ternary 1 2 (eq $exporter "off")) -}}
{{- end -}}

{{/* sleep, exec or none; where there is nothing to wait for, none. */}}
{{- define "portcullis.preStopMethod" -}}
{{- $method := .Values.preStop.method -}}
{{- if eq $method "none" -}}
  none
{{- else if eq (include "portcullis.preStopSeconds" . | int) 0 -}}
  none
{{- else if ne $method "auto" -}}
  {{- $method -}}
{{- else -}}
  {{- ternary "sleep" "exec" (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.preStopSeconds" -}}
{{- $given := .Values.preStop.seconds -}}
{{- $delay := int .Values.drain.delaySeconds -}}
{{- if eq .Values.preStop.method "none" -}}
  0
{{- else if kindIs "invalid" $given -}}
  {{- include "portcullis.drainSeconds" . -}}
{{- else -}}
  {{- if lt (int $given) $delay -}}
    {{- printf "preStop.seconds is %d, and the sidecar takes requests for %d s more (drain.delaySeconds): the app would be gone before. Set preStop.seconds to %d or more, or to null" (int $given) $delay $delay | fail -}}
  {{- end -}}
  {{- int $given -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.gracePeriodSeconds" -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- $preStop := include "portcullis.preStopSeconds" . | int -}}
{{- $shutdown := int .Values.app.shutdownSeconds -}}
{{- $drain := include "portcullis.drainSeconds" . | int -}}
{{- $needed := max (add $preStop $shutdown) $drain | int -}}
{{- if kindIs "invalid" $given -}}
  {{- $needed -}}
{{- else -}}
  {{- if lt (int $given) $needed -}}
    {{- printf "terminationGracePeriodSeconds is %d: the app takes %d s (%d of preStop and %d of app.shutdownSeconds), a drain up to %d s (delay, timeout and one). Set terminationGracePeriodSeconds to %d or more, or to null, or shorten drain.timeoutSeconds" (int $given) (add $preStop $shutdown) $preStop $shutdown $drain $needed | fail -}}
  {{- end -}}
  {{- int $given -}}
{{- end -}}
{{- end -}}

{{/* What stands below `lifecycle` of the app's container, or nothing. */}}
{{- define "portcullis.preStop" -}}
{{- $seconds := include "portcullis.preStopSeconds" . | int -}}
{{- $method := include "portcullis.preStopMethod" . -}}
{{- if eq $method "sleep" -}}
preStop:
  sleep:
    seconds: {{ $seconds }}
{{- else if eq $method "exec" -}}
preStop:
  exec:
    command: [sleep, {{ $seconds | toString | quote }}]
{{- end -}}
{{- end -}}
