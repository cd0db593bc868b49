{{- /* Fails for values that only the upstream chart supports, so that no hub lacks them without notice. */}}
{{- define "supported" -}}
{{- if .Values.prePuller.hook.enabled }}
  {{- fail "the built-in chart has no hook image puller: set prePuller.hook.enabled to false" }}
{{- end }}
{{- if ne .Values.singleuser.storage.type "none" }}
  {{- fail "the built-in chart gives no storage to users: set singleuser.storage.type to none" }}
{{- end }}
{{- if not (has .Values.hub.db.type (list "postgres" "sqlite-memory")) }}
  {{- fail "the built-in chart has no volume for a database: set hub.db.type to postgres or sqlite-memory" }}
{{- end }}
{{- if .Values.ingress.enabled }}
  {{- fail "the built-in chart has no ingress: set ingress.enabled to false" }}
{{- end }}
{{- end }}
