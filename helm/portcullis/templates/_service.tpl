{{/*
Ports of a Service in front of the sidecar, by number: before Kubernetes 1.32 a Service does not find the named ports of a
native sidecar (kubernetes/kubernetes#127958).

  ports:
    {{- include "portcullis.servicePorts" . | nindent 4 }}
*/}}

{{- define "portcullis.servicePorts" -}}
{{- $fixed := has .Values.service.type (list "NodePort" "LoadBalancer") -}}
- name: https
  port: {{ int .Values.service.port }}
  targetPort: {{ int .Values.ports.https }}
  {{- if and $fixed .Values.service.nodePort }}
  nodePort: {{ int .Values.service.nodePort }}
  {{- end }}
  protocol: TCP
  appProtocol: https
{{- if int .Values.ports.redirect }}
- name: http
  port: {{ int .Values.service.redirectPort }}
  targetPort: {{ int .Values.ports.redirect }}
  {{- if and $fixed .Values.service.redirectNodePort }}
  nodePort: {{ int .Values.service.redirectNodePort }}
  {{- end }}
  protocol: TCP
  appProtocol: http
{{- end }}
{{- end -}}
