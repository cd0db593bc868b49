{{- /* Labels, each from (list $ COMPONENT): what finds a pod, what a pod carries, what an object carries. */}}
{{- define "selector" -}}
{{- $root := first . -}}
app: {{ $root.Chart.Name }}
release: {{ $root.Release.Name }}
component: {{ last . }}
{{- end }}

{{- define "podLabels" -}}
{{- $root := first . -}}
{{ include "selector" . }}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "labels" -}}
{{- $root := first . -}}
{{- $chart := printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" -}}
{{ include "podLabels" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
heritage: {{ $root.Release.Service }}
helm.sh/chart: {{ $chart }}
chart: {{ $chart }}
{{- end }}

{{- define "image" -}}
image: {{ .name }}:{{ .tag }}
{{- with .pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{- /* From (list $ IMAGE). */}}
{{- define "pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat (last .).pullSecrets (first .).Values.imagePullSecrets | uniq -}}
  {{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with $secrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Environment variables, from a map of values (or of sources of values), or a list as it is. */}}
{{- define "env" -}}
{{- if kindIs "slice" . -}}
{{ toYaml . }}
{{- else -}}
{{- range $name, $value := . }}
- {{ kindIs "map" $value | ternary $value (dict "value" (toString $value)) | merge (dict "name" $name) | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The content of extraFiles as the data of a Secret; structured data is written as the file's name asks. */}}
{{- define "files" -}}
{{- range $key, $file := . }}
{{- $content := $file.stringData | default "" }}
{{- with $file.data }}
  {{- $extension := ext $file.mountPath }}
  {{- if eq $extension ".json" }}
    {{- $content = toJson . }}
  {{- else if has $extension (list ".yaml" ".yml") }}
    {{- $content = toYaml . }}
  {{- else if eq $extension ".toml" }}
    {{- $content = toToml . }}
  {{- else }}
    {{- fail (printf "extraFiles.%s has data, so its mountPath must end in .json, .yaml, .yml or .toml" $key) }}
  {{- end }}
{{- end }}
{{ $key }}: {{ $file.binaryData | default (trimSuffix "\n" $content | printf "%s\n" | b64enc) | nospace }}
{{- end }}
{{- end }}

{{- define "user.resources" -}}
{{- $resources := dict -}}
{{- range $bound, $side := dict "limits" "limit" "requests" "guarantee" -}}
  {{- $amounts := dict -}}
  {{- range $what := list "cpu" "memory" -}}
    {{- with index $.Values.singleuser $what $side -}}{{- $_ := set $amounts $what . -}}{{- end -}}
  {{- end -}}
  {{- $_ := merge $amounts (index $.Values.singleuser.extraResource (printf "%ss" $side)) -}}
  {{- if $amounts -}}{{- $_ := set $resources $bound $amounts -}}{{- end -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}

{{- /* The security context of our pods: no rights, as user nobody. */}}
{{- define "securityContext" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65534
  runAsGroup: 65534
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- /* From the purpose of a node, core or user. */}}
{{- define "affinity" -}}
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions:
            - key: hub.jupyter.org/node-purpose
              operator: In
              values: [{{ . }}]
{{- end }}

{{- /* From (list $ NAME), the name being that of the component too. */}}
{{- define "pdb" -}}
{{- $pdb := index . 2 -}}
{{- if $pdb.enabled -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ index . 1 }}
  labels:
    {{- include "labels" (list (first .) (index . 1)) | nindent 4 }}
spec:
  {{- range $bound := list "maxUnavailable" "minAvailable" }}
  {{- if not (kindIs "invalid" (index $pdb $bound)) }}
  {{ $bound }}: {{ index $pdb $bound }}
  {{- end }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "selector" (list (first .) (index . 1)) | nindent 6 }}
{{- end }}
{{- end }}

{{- /* Network policies, from (list $ POLICY …), a policy being the values of one: who may come in by a label, … */}}
{{- define "netpol.from" -}}
{{- $policy := index . 1 -}}
{{- $label := dict (printf "hub.jupyter.org/network-access-%s" (index . 2)) "true" -}}
- ports:
    - port: {{ last . }}
  from:
    - podSelector:
        matchLabels: {{ toJson $label }}
      {{- if eq $policy.interNamespaceAccessLabels "accept" }}
      namespaceSelector:
        matchLabels: {}
    - namespaceSelector:
        matchLabels: {{ toJson $label }}
      {{- end }}
{{- end }}

{{- /* … which ports are open to all, … */}}
{{- define "netpol.anyone" -}}
{{- with .allowedIngressPorts }}
- ports:
    {{- range . }}
    - port: {{ . }}
    {{- end }}
{{- end }}
{{- end }}

{{- /* … whom a pod may call by component, … */}}
{{- define "netpol.to" -}}
- ports:
    {{- range slice . 2 }}
    - port: {{ . }}
    {{- end }}
  to:
    - podSelector:
        matchLabels:
          {{- include "selector" (list (first .) (index . 1)) | nindent 10 }}
{{- end }}

{{- define "privateBlocks" -}}
- ipBlock: {cidr: 10.0.0.0/8}
- ipBlock: {cidr: 172.16.0.0/12}
- ipBlock: {cidr: 192.168.0.0/16}
{{- end }}

{{- /* … and what else it may call, by switches and by rules of the values' own. */}}
{{- define "netpol.outside" -}}
{{- $metadata := printf "%s/32" (first .).Values.singleuser.cloudMetadata.ip -}}
{{- $policy := last . -}}
{{- $allow := $policy.egressAllowRules -}}
{{- if or $allow.dnsPortsCloudMetadataServer $allow.dnsPortsKubeSystemNamespace $allow.dnsPortsPrivateIPs }}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
  to:
    {{- if $allow.dnsPortsCloudMetadataServer }}
    - ipBlock: {cidr: {{ $metadata }}}
    {{- end }}
    {{- if $allow.dnsPortsKubeSystemNamespace }}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    {{- end }}
    {{- if $allow.dnsPortsPrivateIPs }}
    {{- include "privateBlocks" . | nindent 4 }}
    {{- end }}
{{- end }}
{{- if $allow.nonPrivateIPs }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, {{ $metadata }}]
{{- end }}
{{- if $allow.privateIPs }}
- to:
    {{- include "privateBlocks" . | nindent 4 }}
{{- end }}
{{- if $allow.cloudMetadataServer }}
- to:
    - ipBlock: {cidr: {{ $metadata }}}
{{- end }}
{{- with $policy.egress }}
{{ toYaml . }}
{{- end }}
{{- end }}
