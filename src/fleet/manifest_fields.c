/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/manifest_fields.h"

#include "base/str.h"

#define PLAYED(field_name, field_shape)                                                                      \
        { .name = field_name, .shape = field_shape }
#define PLAYED_WITH(field_name, field_shape, nested)                                                         \
        { .name = field_name, .shape = field_shape, .fields = nested }
#define IGNORED(field_name, what_to_do)                                                                      \
        { .name = field_name, .shape = MANIFEST_ANY, .fate = MANIFEST_IGNORED, .advice = what_to_do }
#define REFUSED(field_name, what_to_do)                                                                      \
        { .name = field_name, .shape = MANIFEST_ANY, .fate = MANIFEST_REFUSED, .advice = what_to_do }
#define END                                                                                                  \
        { NULL }

#define NO_CLUSTER "leave it out: the fleet's selector chooses the nodes"
#define NO_ACCOUNTS "leave it out: there is no Kubernetes API to log in to"
#define OWN_CHECKS "use the App's healthChecks"
#define VOLUME_KINDS "use hostPath, emptyDir, configMap, secret or persistentVolumeClaim"

/* ---- metadata */

static const struct manifest_field metadata_fields[] = {
        PLAYED("name", MANIFEST_TEXT),
        PLAYED("labels", MANIFEST_PAIRS),
        PLAYED("annotations", MANIFEST_PAIRS),
        PLAYED("creationTimestamp", MANIFEST_ANY), /* `podman generate kube` writes it */
        IGNORED("namespace", "leave it out: a node has no namespaces"),
        IGNORED("generateName", "write a name"),
        IGNORED("finalizers", NULL),
        IGNORED("ownerReferences", NULL),
        IGNORED("uid", NULL),
        IGNORED("resourceVersion", NULL),
        IGNORED("generation", NULL),
        IGNORED("managedFields", NULL),
        END,
};

/* ---- containers */

static const struct manifest_field port_fields[] = {
        PLAYED("containerPort", MANIFEST_NUMBER), PLAYED("hostPort", MANIFEST_NUMBER),
        PLAYED("hostIP", MANIFEST_TEXT),          PLAYED("name", MANIFEST_TEXT),
        PLAYED("protocol", MANIFEST_TEXT),        END,
};

static const struct manifest_field key_reference_fields[] = {
        PLAYED("name", MANIFEST_TEXT),
        PLAYED("key", MANIFEST_TEXT),
        PLAYED("optional", MANIFEST_BOOL),
        END,
};
static const struct manifest_field reference_fields[] = {
        PLAYED("name", MANIFEST_TEXT),
        PLAYED("optional", MANIFEST_BOOL),
        END,
};
static const struct manifest_field value_from_fields[] = {
        PLAYED_WITH("configMapKeyRef", MANIFEST_MAP, key_reference_fields),
        PLAYED_WITH("secretKeyRef", MANIFEST_MAP, key_reference_fields),
        PLAYED("fieldRef", MANIFEST_MAP),
        PLAYED("resourceFieldRef", MANIFEST_MAP),
        END,
};
static const struct manifest_field environment_fields[] = {
        PLAYED("name", MANIFEST_TEXT),
        PLAYED("value", MANIFEST_TEXT),
        PLAYED_WITH("valueFrom", MANIFEST_MAP, value_from_fields),
        END,
};
static const struct manifest_field environment_from_fields[] = {
        PLAYED_WITH("configMapRef", MANIFEST_MAP, reference_fields),
        PLAYED_WITH("secretRef", MANIFEST_MAP, reference_fields),
        IGNORED("prefix", "write the prefix into the names"),
        END,
};

static const struct manifest_field mount_fields[] = {
        PLAYED("name", MANIFEST_TEXT),
        PLAYED("mountPath", MANIFEST_TEXT),
        PLAYED("readOnly", MANIFEST_BOOL),
        IGNORED("mountPropagation", NULL),
        IGNORED("subPath", "the whole volume is mounted: make one for the folder alone"),
        IGNORED("subPathExpr", "the whole volume is mounted: make one for the folder alone"),
        END,
};

static const struct manifest_field capability_fields[] = {
        PLAYED("add", MANIFEST_TEXTS),
        PLAYED("drop", MANIFEST_TEXTS),
        END,
};
static const struct manifest_field container_security_fields[] = {
        PLAYED("runAsUser", MANIFEST_NUMBER),
        PLAYED("runAsGroup", MANIFEST_NUMBER),
        PLAYED("readOnlyRootFilesystem", MANIFEST_BOOL),
        PLAYED("privileged", MANIFEST_BOOL),
        PLAYED("allowPrivilegeEscalation", MANIFEST_BOOL),
        PLAYED("procMount", MANIFEST_TEXT),
        PLAYED_WITH("capabilities", MANIFEST_MAP, capability_fields),
        PLAYED("seLinuxOptions", MANIFEST_MAP),
        IGNORED("runAsNonRoot", "set runAsUser"),
        IGNORED("seccompProfile", NULL),
        IGNORED("appArmorProfile", NULL),
        IGNORED("windowsOptions", NULL),
        END,
};

static const struct manifest_field resources_fields[] = {
        PLAYED("limits", MANIFEST_MAP),
        PLAYED("requests", MANIFEST_MAP),
        IGNORED("claims", NULL),
        END,
};

static const struct manifest_field container_fields[] = {
        PLAYED("name", MANIFEST_TEXT),
        PLAYED("image", MANIFEST_TEXT),
        PLAYED("imagePullPolicy", MANIFEST_TEXT),
        PLAYED("command", MANIFEST_TEXTS),
        PLAYED("args", MANIFEST_TEXTS),
        PLAYED("workingDir", MANIFEST_TEXT),
        PLAYED_WITH("ports", MANIFEST_LIST, port_fields),
        PLAYED_WITH("env", MANIFEST_LIST, environment_fields),
        PLAYED_WITH("envFrom", MANIFEST_LIST, environment_from_fields),
        PLAYED_WITH("volumeMounts", MANIFEST_LIST, mount_fields),
        PLAYED_WITH("resources", MANIFEST_MAP, resources_fields),
        PLAYED_WITH("securityContext", MANIFEST_MAP, container_security_fields),
        IGNORED("livenessProbe", "podman runs it but restarts nothing: " OWN_CHECKS),
        IGNORED("readinessProbe", OWN_CHECKS),
        IGNORED("startupProbe", OWN_CHECKS " with startupGrace"),
        IGNORED("lifecycle", "do it in the container's command"),
        IGNORED("restartPolicy", "set it on the pod"),
        IGNORED("volumeDevices", "use a hostPath volume of type BlockDevice"),
        IGNORED("terminationMessagePath", NULL),
        IGNORED("terminationMessagePolicy", NULL),
        IGNORED("stdin", NULL),
        IGNORED("stdinOnce", NULL),
        IGNORED("tty", NULL),
        END,
};

/* ---- pods */

static const struct manifest_field host_path_fields[] = {
        PLAYED("path", MANIFEST_TEXT),
        PLAYED("type", MANIFEST_TEXT),
        END,
};
static const struct manifest_field claim_fields[] = {
        PLAYED("claimName", MANIFEST_TEXT),
        PLAYED("readOnly", MANIFEST_BOOL),
        END,
};
static const struct manifest_field secret_volume_fields[] = {
        PLAYED("secretName", MANIFEST_TEXT),
        PLAYED("optional", MANIFEST_BOOL),
        PLAYED("items", MANIFEST_LIST),
        IGNORED("defaultMode", NULL),
        END,
};
static const struct manifest_field volume_fields[] = {
        PLAYED("name", MANIFEST_TEXT),
        PLAYED_WITH("hostPath", MANIFEST_MAP, host_path_fields),
        PLAYED("emptyDir", MANIFEST_MAP),
        PLAYED("configMap", MANIFEST_MAP),
        PLAYED_WITH("secret", MANIFEST_MAP, secret_volume_fields),
        PLAYED_WITH("persistentVolumeClaim", MANIFEST_MAP, claim_fields),
        REFUSED("awsElasticBlockStore", VOLUME_KINDS),
        REFUSED("azureDisk", VOLUME_KINDS),
        REFUSED("azureFile", VOLUME_KINDS),
        REFUSED("cephfs", VOLUME_KINDS),
        REFUSED("csi", VOLUME_KINDS),
        REFUSED("downwardAPI", VOLUME_KINDS),
        REFUSED("ephemeral", VOLUME_KINDS),
        REFUSED("fc", VOLUME_KINDS),
        REFUSED("gcePersistentDisk", VOLUME_KINDS),
        REFUSED("gitRepo", VOLUME_KINDS),
        REFUSED("glusterfs", VOLUME_KINDS),
        REFUSED("image", VOLUME_KINDS),
        REFUSED("iscsi", VOLUME_KINDS),
        REFUSED("nfs", "mount it on the node and use hostPath"),
        REFUSED("projected", VOLUME_KINDS),
        REFUSED("rbd", VOLUME_KINDS),
        END,
};

static const struct manifest_field pod_security_fields[] = {
        PLAYED("runAsUser", MANIFEST_NUMBER),
        PLAYED("runAsGroup", MANIFEST_NUMBER),
        PLAYED("supplementalGroups", MANIFEST_LIST),
        PLAYED("seLinuxOptions", MANIFEST_MAP),
        PLAYED("sysctls", MANIFEST_LIST),
        IGNORED("fsGroup", "make the volume's owner right on the node"),
        IGNORED("fsGroupChangePolicy", NULL),
        IGNORED("runAsNonRoot", "set runAsUser"),
        IGNORED("seccompProfile", NULL),
        IGNORED("appArmorProfile", NULL),
        IGNORED("windowsOptions", NULL),
        END,
};

static const struct manifest_field pod_spec_fields[] = {
        PLAYED_WITH("containers", MANIFEST_LIST, container_fields),
        PLAYED_WITH("initContainers", MANIFEST_LIST, container_fields),
        PLAYED_WITH("volumes", MANIFEST_LIST, volume_fields),
        PLAYED("restartPolicy", MANIFEST_TEXT),
        PLAYED("hostname", MANIFEST_TEXT),
        PLAYED("hostAliases", MANIFEST_LIST),
        PLAYED("dnsConfig", MANIFEST_MAP),
        PLAYED("hostNetwork", MANIFEST_BOOL),
        PLAYED("shareProcessNamespace", MANIFEST_BOOL),
        PLAYED_WITH("securityContext", MANIFEST_MAP, pod_security_fields),
        IGNORED("imagePullSecrets", "log the node in to the registry (containers-auth.json)"),
        IGNORED("terminationGracePeriodSeconds", "use the App's stopTimeout"),
        IGNORED("hostPID", "use an App with driver process"),
        IGNORED("hostIPC", "use an App with driver process"),
        IGNORED("dnsPolicy", "use dnsConfig"),
        IGNORED("activeDeadlineSeconds", NULL),
        IGNORED("affinity", NO_CLUSTER),
        IGNORED("nodeSelector", NO_CLUSTER),
        IGNORED("nodeName", NO_CLUSTER),
        IGNORED("tolerations", NO_CLUSTER),
        IGNORED("topologySpreadConstraints", NO_CLUSTER),
        IGNORED("schedulerName", NO_CLUSTER),
        IGNORED("schedulingGates", NO_CLUSTER),
        IGNORED("serviceAccountName", NO_ACCOUNTS),
        IGNORED("serviceAccount", NO_ACCOUNTS),
        IGNORED("automountServiceAccountToken", NO_ACCOUNTS),
        IGNORED("enableServiceLinks", NO_CLUSTER),
        IGNORED("ephemeralContainers", NULL),
        IGNORED("hostUsers", NULL),
        IGNORED("os", NULL),
        IGNORED("overhead", NULL),
        IGNORED("preemptionPolicy", NULL),
        IGNORED("priority", NULL),
        IGNORED("priorityClassName", NULL),
        IGNORED("readinessGates", OWN_CHECKS),
        IGNORED("resourceClaims", NULL),
        IGNORED("runtimeClassName", NULL),
        IGNORED("setHostnameAsFQDN", NULL),
        IGNORED("subdomain", NULL),
        END,
};

/* ---- kinds */

static const struct manifest_field pod_fields[] = {
        PLAYED("apiVersion", MANIFEST_TEXT),
        PLAYED("kind", MANIFEST_TEXT),
        PLAYED_WITH("metadata", MANIFEST_MAP, metadata_fields),
        PLAYED_WITH("spec", MANIFEST_MAP, pod_spec_fields),
        IGNORED("status", NULL),
        END,
};

static const struct manifest_field pod_template_fields[] = {
        PLAYED_WITH("metadata", MANIFEST_MAP, metadata_fields),
        PLAYED_WITH("spec", MANIFEST_MAP, pod_spec_fields),
        END,
};
static const struct manifest_field deployment_spec_fields[] = {
        PLAYED("replicas", MANIFEST_NUMBER), /* 1 only: checked apart */
        PLAYED("selector", MANIFEST_MAP),
        PLAYED_WITH("template", MANIFEST_MAP, pod_template_fields),
        IGNORED("strategy", "the Rollout decides how a change spreads"),
        IGNORED("minReadySeconds", "use pause.duration of the Rollout's waves"),
        IGNORED("progressDeadlineSeconds", "use the App's readyTimeout"),
        IGNORED("revisionHistoryLimit", NULL),
        IGNORED("paused", "use skerry rollout pause"),
        END,
};
static const struct manifest_field deployment_fields[] = {
        PLAYED("apiVersion", MANIFEST_TEXT),
        PLAYED("kind", MANIFEST_TEXT),
        PLAYED_WITH("metadata", MANIFEST_MAP, metadata_fields),
        PLAYED_WITH("spec", MANIFEST_MAP, deployment_spec_fields),
        IGNORED("status", NULL),
        END,
};

static const struct manifest_field claim_spec_fields[] = {
        PLAYED("accessModes", MANIFEST_TEXTS),
        PLAYED("resources", MANIFEST_MAP),
        PLAYED("storageClassName", MANIFEST_TEXT),
        IGNORED("volumeName", NULL),
        IGNORED("volumeMode", NULL),
        IGNORED("selector", NULL),
        IGNORED("dataSource", NULL),
        IGNORED("dataSourceRef", NULL),
        END,
};
static const struct manifest_field claim_object_fields[] = {
        PLAYED("apiVersion", MANIFEST_TEXT),
        PLAYED("kind", MANIFEST_TEXT),
        PLAYED_WITH("metadata", MANIFEST_MAP, metadata_fields),
        PLAYED_WITH("spec", MANIFEST_MAP, claim_spec_fields),
        IGNORED("status", NULL),
        END,
};

static const struct manifest_field config_map_fields[] = {
        PLAYED("apiVersion", MANIFEST_TEXT),
        PLAYED("kind", MANIFEST_TEXT),
        PLAYED_WITH("metadata", MANIFEST_MAP, metadata_fields),
        PLAYED("data", MANIFEST_PAIRS),
        PLAYED("binaryData", MANIFEST_PAIRS),
        IGNORED("immutable", NULL),
        END,
};

static const struct manifest_field secret_fields[] = {
        PLAYED("apiVersion", MANIFEST_TEXT),
        PLAYED("kind", MANIFEST_TEXT),
        PLAYED_WITH("metadata", MANIFEST_MAP, metadata_fields),
        PLAYED("data", MANIFEST_PAIRS),
        PLAYED("type", MANIFEST_TEXT),
        IGNORED("stringData", "write it in base64 under data"),
        IGNORED("immutable", NULL),
        END,
};

const char *const manifest_played_kinds[5] = {"Pod", "Deployment", "ConfigMap", "Secret",
                                              "PersistentVolumeClaim"};

static const struct manifest_kind kinds[] = {
        {"Pod", "v1", pod_fields, NULL},
        {"Deployment", "apps/v1", deployment_fields, NULL},
        {"PersistentVolumeClaim", "v1", claim_object_fields, NULL},
        {"ConfigMap", "v1", config_map_fields, NULL},
        {"Secret", "v1", secret_fields, NULL},
        {"DaemonSet", "apps/v1", NULL, "write it as a Deployment: every node of the fleet runs one"},
        {"StatefulSet", "apps/v1", NULL, "write it as a Deployment with a PersistentVolumeClaim"},
        {"ReplicaSet", "apps/v1", NULL, "write it as a Deployment"},
        {"ReplicationController", "v1", NULL, "write it as a Deployment"},
        {"Job", "batch/v1", NULL,
         "write it as an initContainer, or as an App with driver process and restart OnFailure"},
        {"CronJob", "batch/v1", NULL, "use an App with driver process that keeps the time itself"},
        {"Service", "v1", NULL, "publish ports with hostPort, or set hostNetwork"},
        {"Ingress", "networking.k8s.io/v1", NULL, "publish ports with hostPort, or set hostNetwork"},
        {"NetworkPolicy", "networking.k8s.io/v1", NULL, "leave it out: a node has no cluster network"},
        {"Namespace", "v1", NULL, "leave it out: a node has no namespaces"},
        {"ServiceAccount", "v1", NULL, NO_ACCOUNTS},
        {"Role", "rbac.authorization.k8s.io/v1", NULL, NO_ACCOUNTS},
        {"RoleBinding", "rbac.authorization.k8s.io/v1", NULL, NO_ACCOUNTS},
        {"ClusterRole", "rbac.authorization.k8s.io/v1", NULL, NO_ACCOUNTS},
        {"ClusterRoleBinding", "rbac.authorization.k8s.io/v1", NULL, NO_ACCOUNTS},
        {"PersistentVolume", "v1", NULL,
         "use a PersistentVolumeClaim alone: it becomes a volume of the node"},
        {"StorageClass", "storage.k8s.io/v1", NULL,
         "use a PersistentVolumeClaim alone: it becomes a volume of the node"},
        {"HorizontalPodAutoscaler", "autoscaling/v2", NULL, "leave it out: a node runs one of each pod"},
        {"PodDisruptionBudget", "policy/v1", NULL, "the Rollout decides how many nodes change at once"},
        {"List", "v1", NULL, "write its items as documents of their own, with --- between them"},
};

const struct manifest_kind *manifest_kind_find(const char *name) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_eq(kinds[i].name, name))
                        return &kinds[i];
        return NULL;
}
