{{/* For `helm test`, this chart's own. */}}

{{- define "portcullis.testName" -}}
{{- include "portcullis.fullname" . }}-test
{{- end -}}

{{/* None of the labels by which a Service or a policy knows the pods of the workload. */}}
{{- define "portcullis.testLabels" -}}
{{- $labels := include "portcullis.labels" . | fromYaml -}}
{{- range $name, $value := include "portcullis.selectorLabels" . | fromYaml }}{{ $labels = omit $labels $name }}{{ end -}}
{{- $_ := set $labels "app.kubernetes.io/name" (include "portcullis.testName" .) -}}
{{- /* It is a client, and wants no sidecar. */ -}}
{{- $_ := set $labels "portcullis.dev/inject" "disabled" -}}
{{- $labels | toYaml -}}
{{- end -}}

{{- define "portcullis.testHost" -}}
{{- $first := include "portcullis.dnsNames" . | fromYamlArray | first | replace "*" "any" -}}
{{- $own := include "portcullis.fullname" . -}}
{{- .Values.tests.host | default (ternary $first $own .Values.certManager.enabled) -}}
{{- end -}}
