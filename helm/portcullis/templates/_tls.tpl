{{/*
Secrets, and the names in certificates:

  secretName: {{ include "portcullis.tlsSecretName" . }}
*/}}

{{- define "portcullis.tlsSecretName" -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "portcullis.fullname" .)) -}}
{{- end -}}

{{/* Empty where there is no shared seed. */}}
{{- define "portcullis.ticketSeedSecretName" -}}
{{- $own := printf "%s-seed" (include "portcullis.fullname" .) -}}
{{- .Values.ticketSeed.secretName | default (ternary $own "" .Values.ticketSeed.create) -}}
{{- end -}}

{{/* A YAML list. */}}
{{- define "portcullis.dnsNames" -}}
{{- $name := include "portcullis.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $own := list $name (printf "%s.%s" $name $namespace) (printf "%s.%s.svc" $name $namespace) -}}
{{- default $own .Values.certManager.dnsNames | toYaml -}}
{{- end -}}

{{/* This chart's own: what all Certificates have in common. */}}
{{- define "portcullis.certificateTerms" -}}
{{- with .Values.certManager -}}
duration: {{ .duration }}
renewBefore: {{ .renewBefore }}
privateKey:
  algorithm: {{ .privateKey.algorithm }}
  size: {{ int .privateKey.size }}
  rotationPolicy: {{ .privateKey.rotationPolicy }}
usages: [digital signature, server auth]
{{- end -}}
{{- end -}}
