{{- define "printernizer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "printernizer.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "printernizer.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "printernizer.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* A Deployment's selector never changes, so neither may these. */}}
{{- define "printernizer.selectorLabels" -}}
app.kubernetes.io/name: {{ include "printernizer.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "printernizer.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "printernizer.selectorLabels" . }}
app.kubernetes.io/part-of: printernizer
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Of two labels with one key the chart's own counts: selectors are made of them. */}}
{{- define "printernizer.labels" -}}
{{- merge (include "printernizer.ownLabels" . | fromYaml) .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "printernizer.crdAnnotations" -}}
{{- $annotations := dict -}}
{{- if .Values.crds.keep -}}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" -}}
{{- end -}}
{{- with mergeOverwrite $annotations .Values.crds.annotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "printernizer.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "printernizer.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name must be given: without serviceAccount.create the account is one that exists" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The whole name of an image, of its values and the tag it has without one. */}}
{{- define "printernizer.imageName" -}}
{{- $image := .image -}}
{{- $name := $image.repository -}}
{{- with $image.registry -}}
{{- $name = printf "%s/%s" . $name -}}
{{- end -}}
{{- if and $image.digest (not $image.tag) -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- $tagged := printf "%s:%s" $name (default .tag $image.tag) -}}
{{- if $image.digest -}}{{ printf "%s@%s" $tagged $image.digest }}{{- else -}}{{ $tagged }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "printernizer.image" -}}
{{- $name := required "image.repository must be given: only the chart of a release names an image. Build one, push it to a registry of yours, and name it: --set image.repository=registry.example.com/printernizer" .Values.image.repository -}}
{{- include "printernizer.imageName" (dict "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{- /* What the operator may do in a namespace, or in all where it is empty. */}}
{{- define "printernizer.workRole" -}}
{{- $prefix := ternary "" "Cluster" (not (empty .namespace)) -}}
{{- with .root -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata:
  name: printernizer
  {{- with $.namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "printernizer.labels" . | nindent 4 }}
rules:
  {{- include "printernizer.rules" . | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata:
  name: printernizer
  {{- with $.namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "printernizer.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: printernizer
subjects:
  - kind: ServiceAccount
    name: {{ include "printernizer.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}
{{- end -}}

{{- /* The private ranges, in which printers are unless networks are named, and print files never. */}}
{{- define "printernizer.privateNetworks" -}}
- 10.0.0.0/8
- 172.16.0.0/12
- 192.168.0.0/16
- 100.64.0.0/10
- fc00::/7
{{- end -}}

{{- /* Peers of a network policy from networks. */}}
{{- define "printernizer.peers" -}}
{{- range . }}
- ipBlock:
    cidr: {{ . }}
{{- end }}
{{- end -}}

{{- /* Ports of a network policy from numbers. */}}
{{- define "printernizer.ports" -}}
{{- range . }}
- protocol: TCP
  port: {{ . }}
{{- end }}
{{- end -}}

{{- /* What the operator does to the objects of the namespaces it works in: the rules of a ClusterRole or of a Role. */}}
{{- define "printernizer.rules" -}}
# Watches tell it what there is; each decision reads the object again. It patches finalizers and annotations, and never a
# spec.
- apiGroups: [printernizer.io]
  resources: [printers, printjobs]
  verbs: [get, list, watch, patch]
# Finished jobs are deleted when their time is over, never those of Argo CD, Flux or Helm.
- apiGroups: [printernizer.io]
  resources: [printjobs]
  verbs: [delete]
# The status says what became of a start; it is replaced, so that two writers cannot both be right.
- apiGroups: [printernizer.io]
  resources: [printers/status, printjobs/status, printrecords/status]
  verbs: [update]
# Made before the start of a job that Git may create again, and deleted long after both are gone.
- apiGroups: [printernizer.io]
  resources: [printrecords]
  verbs: [get, list, create, delete]
# Backups: policies are read, and never written but for their status.
- apiGroups: [printernizer.io]
  resources: [backuppolicies]
  verbs: [get, list, watch]
- apiGroups: [printernizer.io]
  resources: [backuppolicies/status]
  verbs: [update]
{{- if .Values.backup.image.repository }}
# From here to the Secrets only with an image for backups, without which nothing of them is made or looked at. Its CronJobs, and
# their Jobs, which say how a run ended.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch]
# What the pods of backups report, and on which node the pods of others have a volume in use.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Whether a volume is there, and how many nodes may have it.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# Whoever makes pods can give them whatever is in their namespace. CronJobs are applied, suspended, and deleted when their
# schedule is gone from the policy, a Job of theirs waits in vain for a node, or a prune is to be ended.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [create, patch, delete]
# One is made when a person asks for a backup now; none is ever ended or deleted by itself.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create]
# Pods that back up the project's own objects read them with an account of their own, which may read these kinds and nothing
# else. Kubernetes lets the operator grant no right it does not have itself.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create, patch]
{{- end }}
# Access codes of printers, credentials of file servers and of backups, by name. Only Secrets with the label printernizer.io/usage are
# used, but Kubernetes cannot grant by label: keep other Secrets out of the namespaces the operator works in.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# Print files in ConfigMaps, and certificate authorities of file servers and of backups, by name.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
# What happened to a printer, a job or a backup, for `kubectl describe`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
