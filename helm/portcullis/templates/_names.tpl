{{/*
Names and labels. Every template takes the chart's context, here `.`, in a chart that includes this one `.Subcharts.portcullis`:

  name: {{ include "portcullis.fullname" . }}
  labels:
    {{- include "portcullis.labels" . | nindent 4 }}
*/}}

{{- define "portcullis.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimAll "-" -}}
{{- end -}}

{{/* At most 52 characters, so that there is room for our suffixes, and for those of a StatefulSet. A release may have dots. */}}
{{- define "portcullis.fullname" -}}
{{- $name := include "portcullis.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
  {{- .Values.fullnameOverride -}}
{{- else if contains $name $release -}}
  {{- $release | trunc 52 | trimAll "-" -}}
{{- else -}}
  {{- printf "%s-%s" $release $name | trunc 52 | trimAll "-" -}}
{{- end -}}
{{- end -}}

{{/* For `selector`, which cannot be changed later: no version in it. */}}
{{- define "portcullis.selectorLabels" -}}
{{- $own := dict "app.kubernetes.io/name" (include "portcullis.name" .) "app.kubernetes.io/instance" .Release.Name -}}
{{- default $own .Values.selectorLabels | toYaml -}}
{{- end -}}

{{/* For all objects. */}}
{{- define "portcullis.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_.")
  "app.kubernetes.io/name" (include "portcullis.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63 | trimAll "-_.")
  "app.kubernetes.io/managed-by" .Release.Service -}}
{{- merge dict .Values.commonLabels $own | toYaml -}}
{{- end -}}

{{/* For the template of a pod: without the chart's version, so that a new chart alone rolls nothing. */}}
{{- define "portcullis.podLabels" -}}
{{- $selector := include "portcullis.selectorLabels" . | fromYaml -}}
{{- $labels := omit (include "portcullis.labels" . | fromYaml) "helm.sh/chart" "app.kubernetes.io/managed-by" -}}
{{- merge dict $selector .Values.podLabels $labels | toYaml -}}
{{- end -}}

{{/* Empty is the namespace's default. */}}
{{- define "portcullis.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "portcullis.fullname" .) "" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "portcullis.image" -}}
{{- include "portcullis.reference" (list .Values.image .Chart.AppVersion) -}}
{{- end -}}

{{- define "portcullis.appImage" -}}
{{- include "portcullis.reference" (list .Values.app.image "") -}}
{{- end -}}

{{/* This chart's own: what an image value means, and the tag where it says none. */}}
{{- define "portcullis.reference" -}}
{{- $image := first . -}}
{{- if $image.digest -}}
  {{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
  {{- printf "%s:%s" $image.repository (default (last .) $image.tag) -}}
{{- end -}}
{{- end -}}
