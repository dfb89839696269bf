{{/*
Probes of the app's container, through the sidecar's probe plane, by number: the name of a port is one of its own container.

  containers:
    - name: app
      {{- include "portcullis.appProbes" . | nindent 6 }}

There may be none: with app.healthPath "" and no handler of their own.
*/}}

{{- define "portcullis.appProbes" -}}
{{- $probes := dict -}}
{{- range $name := list "startup" "liveness" -}}
  {{- $probe := get $.Values.app.probes $name | default dict -}}
  {{- if or $probe.httpGet $probe.tcpSocket $probe.exec $probe.grpc -}}
    {{- $_ := set $probes (printf "%sProbe" $name) $probe -}}
  {{- else if and $probe $.Values.app.healthPath -}}
    {{- /* Else an app that hangs would be kept for its preStop before it is started anew. */ -}}
    {{- $ask := dict "httpGet" (dict "path" "/app" "port" (int $.Values.ports.probe))
      "terminationGracePeriodSeconds" (add1 (int $.Values.app.shutdownSeconds)) -}}
    {{- $_ := set $probes (printf "%sProbe" $name) (merge dict $ask $probe) -}}
  {{- end -}}
{{- end -}}
{{- with $probes }}{{ toYaml . }}{{ end -}}
{{- end -}}
