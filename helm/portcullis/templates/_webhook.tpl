{{/*
The admission webhook, this chart's own: names, labels, arguments, and where its certificate comes from. Its pods have another
app.kubernetes.io/name than those of the workload, so that neither's Service, policy or budget means the other's.
*/}}

{{- define "portcullis.webhook.fullname" -}}
{{- include "portcullis.fullname" . }}-webhook
{{- end -}}

{{/* What stands for the cluster has the namespace in its name: another release may be called the same there. */}}
{{- define "portcullis.webhook.configurationName" -}}
{{- printf "%s-%s" (include "portcullis.webhook.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "portcullis.webhook.selectorLabels" -}}
app.kubernetes.io/name: {{ include "portcullis.name" . }}-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portcullis.webhook.labels" -}}
{{- $selector := include "portcullis.webhook.selectorLabels" . | fromYaml -}}
{{- $own := dict "app.kubernetes.io/component" "webhook" -}}
{{- merge dict $selector $own (include "portcullis.labels" . | fromYaml) | toYaml -}}
{{- end -}}

{{/* None of the labels by which a Service or a policy knows the pods of the workload. */}}
{{- define "portcullis.webhook.podLabels" -}}
{{- $workload := include "portcullis.selectorLabels" . | fromYaml -}}
{{- $labels := omit (include "portcullis.webhook.labels" . | fromYaml) "helm.sh/chart" "app.kubernetes.io/managed-by" -}}
{{- $labels = merge dict .Values.webhook.podLabels $labels -}}
{{- range $name, $value := $workload }}{{ $labels = omit $labels $name }}{{ end -}}
{{- $fixed := include "portcullis.webhook.selectorLabels" . | fromYaml -}}
{{- /* Another release's webhook does not stand in the way of this one's pods. */ -}}
{{- $_ := set $fixed "portcullis.dev/inject" "disabled" -}}
{{- $labels = merge dict $fixed $labels -}}
{{- $meant := true -}}
{{- range $name, $value := $workload -}}
  {{- if ne (get $labels $name) $value }}{{ $meant = false }}{{ end -}}
{{- end -}}
{{- if $meant -}}
  {{- printf "selectorLabels mean the webhook's pods, too, whose labels are %s: add another label to them" (toJson $labels) | fail -}}
{{- end -}}
{{- $labels | toYaml -}}
{{- end -}}

{{/* What is left for the process to end, after a drain: the same as for an app beside the sidecar. */}}
{{- define "portcullis.webhook.gracePeriodSeconds" -}}
{{- add (include "portcullis.drainSeconds" .) 4 -}}
{{- end -}}

{{/* Settings of injection, which a pod's annotations override, and options of the server. */}}
{{- define "portcullis.webhook.options" -}}
{{- $inject := dict "image" (include "portcullis.image" .) -}}
{{- if semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version }}{{ $_ := set $inject "mode" "classic" }}{{ end -}}
{{- if semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version }}{{ $_ := set $inject "pre-stop" "exec" }}{{ end -}}
{{- $settings := list -}}
{{- range $name, $value := merge dict .Values.webhook.inject $inject -}}
  {{- $settings = append $settings (printf "%s=%s" $name (include "portcullis.plain" $value)) -}}
{{- end -}}
{{- include "portcullis.arguments" (merge (dict "inject" $settings) .Values.webhook.options) -}}
{{- end -}}

{{- define "portcullis.webhook.tlsSecretName" -}}
{{- .Values.webhook.tls.secretName | default (printf "%s-tls" (include "portcullis.webhook.fullname" .)) -}}
{{- end -}}

{{/* secret, certManager or generated. */}}
{{- define "portcullis.webhook.tlsSource" -}}
{{- $injected := false -}}
{{- range $name, $_ := .Values.webhook.annotations }}{{ $injected = or $injected (contains "inject" $name) }}{{ end -}}
{{- with .Values.webhook.tls -}}
{{- if and .secretName .certManager.enabled -}}
  {{- fail "webhook.tls.secretName names a Secret that is there, and webhook.tls.certManager makes one: set one of them" -}}
{{- else if .secretName -}}
  {{- if not (or .caBundle $injected) -}}
    {{- fail "webhook.tls.secretName is given, and the API server has to know who issued what is in it: set webhook.tls.caBundle, or an annotation in webhook.annotations by which an injector of CAs sets it" -}}
  {{- end -}}
  secret
{{- else if .certManager.enabled -}}
  certManager
{{- else -}}
  {{- if .caBundle -}}
    {{- fail "webhook.tls.caBundle goes with webhook.tls.secretName or webhook.tls.certManager: what the chart makes itself has a CA of its own" -}}
  {{- end -}}
  generated
{{- end -}}
{{- end -}}
{{- end -}}

{{/* As the API server asks for it, and as it is known in the namespace. A YAML list. */}}
{{- define "portcullis.webhook.dnsNames" -}}
{{- $name := include "portcullis.webhook.fullname" . -}}
- {{ $name }}.{{ .Release.Namespace }}.svc
- {{ $name }}.{{ .Release.Namespace }}
- {{ $name }}
{{- end -}}
