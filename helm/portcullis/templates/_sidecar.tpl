{{/*
The sidecar's container. Below `spec` of the pod's template, one of the first two has it, the other is empty, depending on
sidecar.mode and the cluster:

  initContainers:
    {{- include "portcullis.initContainer" . | nindent 8 }}
  containers:
    - name: app
      …
    {{- include "portcullis.sidecarContainer" . | nindent 8 }}

`portcullis.container` is the container itself, for those who know which it is.
*/}}

{{- define "portcullis.initContainer" -}}
{{- if eq (include "portcullis.mode" .) "native" -}}
- {{ include "portcullis.container" . | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{- define "portcullis.sidecarContainer" -}}
{{- if eq (include "portcullis.mode" .) "classic" -}}
- {{ include "portcullis.container" . | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{/* native or classic. */}}
{{- define "portcullis.mode" -}}
{{- if eq .Values.sidecar.mode "auto" -}}
  {{- ternary "native" "classic" (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- else -}}
  {{- .Values.sidecar.mode -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.container" -}}
{{- include "portcullis.checkPorts" . -}}
name: portcullis
image: {{ include "portcullis.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if eq (include "portcullis.mode" .) "native" }}
# A native sidecar: it is there before the app, and ends after it.
restartPolicy: Always
{{- end }}
args:
  - run
  {{- with include "portcullis.options" . }}
  {{- . | trim | nindent 2 }}
  {{- end }}
env:
  {{- include "portcullis.env" . | trim | nindent 2 }}
  {{- with .Values.sidecar.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: https
    containerPort: {{ int .Values.ports.https }}
    protocol: TCP
  {{- if int .Values.ports.redirect }}
  - name: redirect
    containerPort: {{ int .Values.ports.redirect }}
    protocol: TCP
  {{- end }}
  - name: probe
    containerPort: {{ int .Values.ports.probe }}
    protocol: TCP
{{ include "portcullis.planeProbes" .Values.ports.probe }}
{{- if eq (include "portcullis.mode" .) "native" }}
lifecycle:
  # The drain begins when the pod is taken off the Service, and not when the app has gone.
  preStop:
    exec:
      command: [portcullis, drain]
{{- end }}
{{- with .Values.sidecar.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "portcullis.containerSecurityContext" . | nindent 2 }}
volumeMounts:
  {{- include "portcullis.volumeMounts" . | nindent 2 }}
  {{- with .Values.sidecar.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* This chart's own, all below. Probes of the process, whose probe plane is on this port. */}}
{{- define "portcullis.planeProbes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: {{ int . }}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: {{ int . }}
  timeoutSeconds: 5
  # Who is killed for not being alive has no time to drain.
  terminationGracePeriodSeconds: 5
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ int . }}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{- define "portcullis.containerSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Where it is mounted what portcullis.volumes has. */}}
{{- define "portcullis.volumeMounts" -}}
- name: tls
  mountPath: /etc/portcullis/tls
  readOnly: true
{{- range $index, $name := .Values.tls.extraSecrets }}
- name: tls-{{ add1 $index }}
  mountPath: /etc/portcullis/certificates/{{ $name }}
  readOnly: true
{{- end }}
{{- if ne .Values.clientAuth.mode "off" }}
{{- range $name := list "ca" "crl" }}
{{- $source := get $.Values.clientAuth $name }}
{{- if or $source.secret $source.configMap }}
- name: client-{{ $name }}
  mountPath: /etc/portcullis/client-{{ $name }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}
{{- if include "portcullis.ticketSeedSecretName" . }}
- name: ticket-seed
  mountPath: /etc/portcullis/ticket-seed
  readOnly: true
{{- end }}
{{- if .Values.admin.tokenSecret.name }}
- name: admin
  mountPath: /etc/portcullis/admin
  readOnly: true
{{- end }}
{{- end -}}

{{/* One value each. What is a list is an argument: no comma in it has a meaning there. */}}
{{- define "portcullis.env" -}}
{{- $env := list
  (list "SRV_NAME" (default (include "portcullis.fullname" .) .Values.serviceName))
  (list "PORT" (int .Values.ports.https))
  (list "TARGET" (default (printf "http://localhost:%d" (int .Values.app.port)) .Values.target)) -}}
{{- if int .Values.ports.redirect -}}
  {{- $env = append $env (list "PORTCULLIS_REDIRECT" (printf "[::]:%d" (int .Values.ports.redirect))) -}}
  {{- if ne (int .Values.service.port) 443 -}}
    {{- $env = append $env (list "PORTCULLIS_REDIRECT_PORT" (int .Values.service.port)) -}}
  {{- end -}}
{{- end -}}
{{- if ne (int .Values.ports.admin) 9901 -}}
  {{- $env = append $env (list "PORTCULLIS_ADMIN" (printf "127.0.0.1:%d" (int .Values.ports.admin))) -}}
{{- end -}}
{{- if ne (int .Values.ports.probe) 9902 -}}
  {{- $env = append $env (list "PORTCULLIS_PROBE" (printf "[::]:%d" (int .Values.ports.probe))) -}}
{{- end -}}
{{- if ne .Values.tls.profile "intermediate" -}}
  {{- $env = append $env (list "PORTCULLIS_TLS_PROFILE" .Values.tls.profile) -}}
{{- end -}}
{{- with .Values.tls.hsts -}}
  {{- $env = append $env (list "PORTCULLIS_HSTS" .) -}}
{{- end -}}
{{- with .Values.clientAuth -}}
{{- if ne .mode "off" -}}
  {{- $env = append $env (list "PORTCULLIS_CLIENT_AUTH" .mode) -}}
  {{- if or .ca.secret .ca.configMap -}}
    {{- $env = append $env (list "PORTCULLIS_CLIENT_CA" (printf "/etc/portcullis/client-ca/%s" .ca.key)) -}}
  {{- end -}}
  {{- if or .crl.secret .crl.configMap -}}
    {{- $env = append $env (list "PORTCULLIS_CLIENT_CRL" (printf "/etc/portcullis/client-crl/%s" .crl.key)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- if include "portcullis.ticketSeedSecretName" . -}}
  {{- $env = append $env (list "PORTCULLIS_TICKET_SEED" (printf "/etc/portcullis/ticket-seed/%s" .Values.ticketSeed.key)) -}}
{{- end -}}
{{- if .Values.admin.tokenSecret.name -}}
  {{- $env = append $env (list "PORTCULLIS_ADMIN_TOKEN_FILE" (printf "/etc/portcullis/admin/%s" .Values.admin.tokenSecret.key)) -}}
{{- end -}}
{{- if .Values.admin.targetLocked -}}
  {{- $env = append $env (list "PORTCULLIS_TARGET_LOCKED" "true") -}}
{{- end -}}
{{- if .Values.admin.requireLoopbackApp -}}
  {{- $env = append $env (list "PORTCULLIS_REQUIRE_LOOPBACK_APP" "true") -}}
{{- end -}}
{{- with .Values.app.healthPath -}}
  {{- $env = append $env (list "PORTCULLIS_APP_HEALTH" .) -}}
{{- end -}}
{{- $env = concat $env (list
  (list "PORTCULLIS_DRAIN_DELAY" (printf "%ds" (int .Values.drain.delaySeconds)))
  (list "PORTCULLIS_DRAIN_TIMEOUT" (printf "%ds" (int .Values.drain.timeoutSeconds)))
  (list "PORTCULLIS_GRACE_PERIOD" (printf "%ss" (include "portcullis.gracePeriodSeconds" .)))) -}}
{{- $owned := list "PORTCULLIS_LISTEN" "PORTCULLIS_TARGET" "PORTCULLIS_SERVICE_NAME" "PORTCULLIS_CERT_DIR" "PORTCULLIS_ADMIN" "PORTCULLIS_PROBE" "PORTCULLIS_REDIRECT" -}}
{{- range $env }}{{ $owned = append $owned (first .) }}{{ end -}}
{{- range .Values.sidecar.extraEnv -}}
{{- if has .name $owned -}}
  {{- printf "sidecar.extraEnv has %s, which the chart sets itself: use its own value for it" .name | fail -}}
{{- end -}}
{{- end -}}
{{- range $env }}
- name: {{ first . }}
  value: {{ last . | toString | quote }}
{{- end -}}
{{- end -}}

{{- define "portcullis.options" -}}
{{- $options := deepCopy .Values.options -}}
{{- with .Values.tls.extraSecrets -}}
  {{- $folders := list "/etc/portcullis/tls" -}}
  {{- range . }}{{ $folders = append $folders (printf "/etc/portcullis/certificates/%s" .) }}{{ end -}}
  {{- $_ := set $options "cert-dir" $folders -}}
{{- end -}}
{{- with .Values.clientAuth -}}
  {{- if and .exemptPaths (ne .mode "required") -}}
    {{- printf "clientAuth.exemptPaths goes with clientAuth.mode required, and it is %s: all paths are open without a certificate then" .mode | fail -}}
  {{- end -}}
  {{- range $name := list "ca" "crl" -}}
    {{- $source := get $.Values.clientAuth $name -}}
    {{- if and $source.secret $source.configMap -}}
      {{- printf "clientAuth.%s is to come from a Secret and from a ConfigMap: name one of them" $name | fail -}}
    {{- end -}}
  {{- end -}}
  {{- if ne .mode "off" -}}
    {{- $_ := set $options "allow-san" .allowSans -}}
    {{- $_ := set $options "client-auth-exempt" .exemptPaths -}}
  {{- end -}}
{{- end -}}
{{- include "portcullis.arguments" $options -}}
{{- end -}}

{{/* Options by their names. What is a list is there several times, and what is false is not. */}}
{{- define "portcullis.arguments" -}}
{{- range $name, $value := . -}}
{{- if not (kindIs "slice" $value) }}{{ $value = list $value }}{{ end -}}
{{- range $one := $value -}}
{{- if kindIs "bool" $one -}}
{{- if $one }}
- {{ printf "--%s" $name }}
{{- end -}}
{{- else }}
- {{ printf "--%s=%s" $name (include "portcullis.plain" $one) | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A number of a values file is a float: without this, a million is 1e+06. */}}
{{- define "portcullis.plain" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- define "portcullis.checkPorts" -}}
{{- $taken := dict -}}
{{- $ports := dict "ports.https" .Values.ports.https "ports.redirect" .Values.ports.redirect "ports.admin" .Values.ports.admin
  "ports.probe" .Values.ports.probe "app.port" .Values.app.port -}}
{{- range $name, $port := $ports -}}
  {{- $port = int $port | toString -}}
  {{- if and (ne $port "0") (hasKey $taken $port) -}}
    {{- printf "%s and %s are both %s, in one pod: change one of them" (get $taken $port) $name $port | fail -}}
  {{- end -}}
  {{- $_ := set $taken $port $name -}}
{{- end -}}
{{- with .Values.service -}}
{{- if and (int $.Values.ports.redirect) (eq (int .port) (int .redirectPort)) -}}
  {{- printf "service.port and service.redirectPort are both %d: change one of them, or set ports.redirect to 0" (int .port) | fail -}}
{{- end -}}
{{- if and .nodePort (eq (int .nodePort) (int .redirectNodePort)) -}}
  {{- printf "service.nodePort and service.redirectNodePort are both %d: change one of them" (int .nodePort) | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}
