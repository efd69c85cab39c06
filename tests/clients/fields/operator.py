"""Fields that only the operator reads: the gateway refuses a bad value of them in the same words."""

from .access import CHOICE, DURATION, WHOLE

NAME = ": not a name; must be a name of lower-case letters, digits, - and . that begins and ends with a letter or a digit"
LABEL_KEY = ": not a label key; must be a label key: a name of at most 63 characters, perhaps after a DNS name and /"
LABEL_VALUE = ": not a label value; must be a label value: at most 63 letters, digits, -, _ and ., or nothing"
HOST = ": not a host name; must be a host name, perhaps with * as its first label: chat.example.com"
QUANTITY = ": not a quantity; must be a Kubernetes quantity: 250m, 2, 512Mi"
CIDR = ": not a network; must be a network such as 10.0.0.0/8 or 2001:db8::/32, or one address"
LIST = " is {}: not a list; must be a list".format


REFUSED = {
    "replicas": (-1, f" is -1: too small; {WHOLE} 0 to 1000"),
    "autoscaling.minReplicas": (0, f" is 0: too small; {WHOLE} 1 to 1000"),
    "autoscaling.maxReplicas": (2, " is 2: more than one replica with broker.type: Memory; maxReplicas above 1 needs broker.type: NATS"),
    "autoscaling.targetUtilization": (100, f" is 100: too large; {WHOLE} 10 to 95"),
    "autoscaling.scaleDownStabilization": ("2h", f" is 2h: too long; must be a duration from 0s to 1h, {DURATION}"),
    "deployment.image": ("a b", " is a b: not an image; must be a container image without white space: registry.example.com/headgate/gateway:0.1.0"),
    "deployment.imagePullSecrets": ("a", LIST("a")),
    "deployment.imagePullSecrets[0].name": ("A", f" is A{NAME}"),
    "deployment.resources.requests": ({"cpu": "1x"}, f".cpu is 1x{QUANTITY}"),
    "deployment.resources.limits": ({"memory": "1GB"}, f".memory is 1GB{QUANTITY}"),
    "deployment.nodeSelector": ({"a b": "c"}, f'["a b"]{LABEL_KEY}'),
    "deployment.tolerations": ("a", LIST("a")),
    "deployment.tolerations[0].key": ("a b", f" is a b{LABEL_KEY}"),
    "deployment.tolerations[0].operator": ("In", f" is In{CHOICE} Equal or Exists"),
    "deployment.tolerations[0].value": ("a b", f" is a b{LABEL_VALUE}"),
    "deployment.tolerations[0].effect": ("Evict", f" is Evict{CHOICE} NoSchedule, PreferNoSchedule, NoExecute"),
    "deployment.tolerations[0].tolerationSeconds": (86_401, f" is 86401: too large; {WHOLE} 0 to 86400"),
    "deployment.topologySpread": ("Region", f" is Region{CHOICE} Zone, Node, Disabled"),
    "service.type": ("ExternalName", f" is ExternalName{CHOICE} ClusterIP, NodePort, LoadBalancer"),
    "service.port": (70_000, f" is 70000: too large; {WHOLE} 1 to 65535"),
    "service.annotations": ({"a b": "c"}, f'["a b"]{LABEL_KEY}'),
    "route.hostnames": (["a_b"], f"[0] is a_b{HOST}"),
    "route.ingressClassName": ("Nginx", f" is Nginx{NAME}"),
    "route.parentRefs": ("a", LIST("a")),
    "route.parentRefs[0].name": ("Web", f" is Web{NAME}"),
    "route.parentRefs[0].sectionName": ("Web", f" is Web{NAME}"),
    "monitoring.serviceMonitor": ("On", f" is On{CHOICE} Auto or Disabled"),
    "monitoring.prometheusRule": ("On", f" is On{CHOICE} Auto or Disabled"),
    "monitoring.dashboard": ("On", f" is On{CHOICE} Auto or Disabled"),
    "networkPolicy.mode": ("Auto", f" is Auto{CHOICE} Enabled or Disabled"),
    "networkPolicy.internalFrom": ([{}], "[0]: names nobody, or addresses and pods at once; each of networkPolicy.internalFrom must have ipBlock"),
    "networkPolicy.internalFrom[0].podSelector.matchLabels": ({"a": "b c"}, f".a is b c{LABEL_VALUE}"),
    "networkPolicy.internalFrom[0].namespaceSelector.matchLabels": ({"a b": "c"}, f'["a b"]{LABEL_KEY}'),
    "networkPolicy.internalFrom[0].ipBlock.cidr": ("10.0.0.0/33", f" is 10.0.0.0/33{CIDR}"),
    "networkPolicy.internalFrom[0].ipBlock.except": (["10.0.0.0/33"], f"[0] is 10.0.0.0/33{CIDR}"),
}
