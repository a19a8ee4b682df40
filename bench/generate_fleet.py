#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A large fleet repository that compiles without a word: the same one for the same numbers."""
import argparse
import pathlib

NODES_PER_FILE = 100

NODE = """\
apiVersion: skerry/v1alpha1
kind: Node
metadata:
  name: {name}
  labels: {{role: {role}, site: site-{site}, hardware: "rev-{revision}"{canary}}}
spec:
  variables: {{port: "{port}", asset: "A{number:06}"}}
"""

FLEET = """\
apiVersion: skerry/v1alpha1
kind: Fleet
metadata: {{name: {role}, labels: {{team: team-{team}}}}}
spec:
  selector:
    matchLabels: {{role: {role}}}
    matchExpressions:
      - {{key: site, operator: Exists}}
  rollout: careful
  template:
    variables: {{greeting: "Moin", endpoint: "https://telemetry.example.org/{role}"}}
    files:
      - path: /etc/fleet/node.ini
        content: |
          node = ${{node.name}}
          site = ${{labels.site}}
          asset = ${{vars.asset}}
      - {{path: /etc/fleet/ca.pem, source: ../files/ca.pem}}
    apps: [{apps}]
"""

PROCESS = """\
apiVersion: skerry/v1alpha1
kind: App
metadata: {{name: {name}}}
spec:
  driver: process
  command: [/usr/bin/{name}, --listen, "127.0.0.1:${{vars.port}}", --site, "${{labels.site}}"]
  environment: {{GREETING: "${{vars.greeting}}", ENDPOINT: "${{vars.endpoint}}", COLOUR: "${{vars.colour:-blue}}"}}
  files:
    - path: /etc/{name}/config.ini
      content: |
        name = {name}
        asset = ${{vars.asset}}
  resources: {{memoryMax: 64Mi, cpuMax: 500m, pidsMax: 100}}
  healthChecks:
    - name: alive
      http: {{port: "${{vars.port}}", path: /healthz}}
      interval: 10s
      timeout: 2s
{depends}"""

PODMAN = """\
apiVersion: skerry/v1alpha1
kind: App
metadata: {{name: {name}}}
spec:
  driver: podman
  manifests: [manifests/{name}.yaml]
  healthChecks:
    - tcp: {{port: "${{vars.port}}"}}
{depends}"""

MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}}}
data:
  greeting: ${{vars.greeting}} from ${{node.name}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      hostNetwork: true
      containers:
        - name: main
          image: registry.example.org/apps/{name}:1.{number}
          args: [--port, "${{vars.port}}"]
          envFrom: [{{configMapRef: {{name: {name}}}}}]
          resources: {{limits: {{memory: 64Mi, cpu: 500m}}}}
"""

ROLLOUT = """\
apiVersion: skerry/v1alpha1
kind: Rollout
metadata: {name: careful}
spec:
  waves:
    - {name: canary, selector: {matchLabels: {canary: "true"}}, limit: 5, pause: {duration: 10m}}
    - {name: tenth, limit: 10%, pause: {duration: 30m}}
    - {name: rest}
  maxFailed: 2%
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10000)
    parser.add_argument("--apps", type=int, default=500)
    parser.add_argument("--fleets", type=int, default=20)
    parser.add_argument("--single", action="store_true", help="one file a node")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()

    def write(path, text):
        target = options.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    roles = [f"role-{number}" for number in range(options.fleets)]
    nodes = []
    for number in range(options.nodes):
        nodes.append(NODE.format(name=f"node-{number:05}", role=roles[number % len(roles)], site=number // 50,
                                 revision=number % 7, port=10000 + number % 50000, number=number,
                                 canary=', canary: "true"' if number % 100 < len(roles) else ""))
    step = 1 if options.single else NODES_PER_FILE
    for begin in range(0, len(nodes), step):
        write(f"nodes/{begin // 1000:03}/{begin:05}.yaml", "---\n".join(nodes[begin:begin + step]))

    listed = {role: [] for role in roles}
    for number in range(options.apps):
        mine = listed[roles[number % len(roles)]]
        name = f"app-{number:04}"
        depends = f"  dependsOn: [{mine[-1]}]\n" if number % 3 == 2 and mine else ""
        if number % 4 == 3:
            write(f"apps/{name}.yaml", PODMAN.format(name=name, depends=depends))
            write(f"apps/manifests/{name}.yaml", MANIFEST.format(name=name, number=number))
        else:
            write(f"apps/{name}.yaml", PROCESS.format(name=name, depends=depends))
        mine.append(name)
    for number, role in enumerate(roles):
        write(f"fleets/{role}.yaml", FLEET.format(role=role, team=number % 5, apps=", ".join(listed[role])))
    write("careful.yaml", ROLLOUT)
    write("files/ca.pem", "".join(f"{line:064x}\n" for line in range(40)))
    print(f"{options.out}: {options.nodes} nodes, {options.apps} apps, {options.fleets} fleets")


if __name__ == "__main__":
    main()
