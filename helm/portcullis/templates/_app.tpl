{{/*
The container of the app: that of this chart's own Deployment, and a pattern for other charts, which have theirs.

  containers:
    {{- include "portcullis.appContainer" . | nindent 8 }}
*/}}

{{- define "portcullis.appContainer" -}}
{{- with .Values.app -}}
- name: {{ .name }}
  image: {{ include "portcullis.appImage" $ | quote }}
  imagePullPolicy: {{ .image.pullPolicy }}
  {{- with .command }}
  command:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    {{- $names := list }}
    {{- range .env }}{{ $names = append $names .name }}{{ end }}
    {{- if not (has "PORT" $names) }}
    - name: PORT
      value: {{ .port | int | toString | quote }}
    {{- end }}
    {{- with .env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "portcullis.appProbes" $ }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "portcullis.preStop" $ }}
  lifecycle:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .volumeMounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
