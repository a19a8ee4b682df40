# SPDX-License-Identifier: Apache-2.0
"""Small fleets for tests: a managed file and a process that serves its check."""
import json

# The app holds its text in a file and runs until it is stopped; the check passes when the text is not "bad".
APP = """\
apiVersion: skerry/v1alpha1
kind: App
metadata: {{name: {name}}}
spec:
  driver: process
  command: [/bin/sh, -c, "echo {text} started; exec sleep 100000"]
  environment: {{TEXT: "{text}"}}
  readyTimeout: {ready}
  stopTimeout: 2s
  restart: {{policy: Always, backoff: 200ms, maxBackoff: 2s}}
  healthChecks:
    - name: text
      exec: {{command: [/bin/sh, -c, "test {text} != bad"]}}
      interval: 200ms
      timeout: 20s
      failureThreshold: 2
      startupGrace: 0s
"""

FLEET = """\
apiVersion: skerry/v1alpha1
kind: Fleet
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{fleet: {name}}}}}
  rollout: {rollout}
  template:
    variables: {{text: "{text}"}}
    files:
      - path: /etc/edge.conf
        content: |
          node = ${{node.name}}
          text = ${{vars.text}}
    apps: {apps}
"""

ROLLOUT = """\
apiVersion: skerry/v1alpha1
kind: Rollout
metadata: {{name: {name}}}
spec:
  waves: {waves}
  maxFailed: {max_failed}
  minSample: {min_sample}
  progressDeadlineSeconds: {deadline}
  deferAfterSeconds: {defer}
  rollback: {{onFailure: {rollback}}}
"""

CANARY_THEN_REST = [{"name": "canary", "limit": 1, "pause": {"duration": "1s"}}, {"name": "rest"}]


def write(repository, text="one", name="edge", apps=("web",), waves=None, max_failed=0, min_sample=1, deadline=120,
          defer=3, rollback=True, ready="20s"):
    """Writes a fleet `name` whose every node is labelled fleet=name; `text` makes one revision differ from another."""
    repository.write(f"{name}/fleet.yaml", FLEET.format(name=name, text=text, rollout=name, apps=json.dumps(list(apps))))
    for app in apps:
        repository.write(f"{name}/{app}.yaml", APP.format(name=app, text=text, ready=ready))
    repository.write(f"{name}/rollout.yaml", ROLLOUT.format(
        name=name, waves=json.dumps(CANARY_THEN_REST if waves is None else waves), max_failed=json.dumps(max_failed),
        min_sample=min_sample, deadline=deadline, defer=defer, rollback="true" if rollback else "false"))


def push(lab, repository, message, **what):
    """Writes, commits, pushes, tells the server; returns the commit."""
    write(repository, **what)
    commit = repository.commit(message)
    lab.notify()
    return commit


def runs(agent, text):
    """Does the node's managed file hold this text?"""
    return f"text = {text}\n" in (agent.file("/etc/edge.conf") or "")


def push_only(repository, message, **what):
    """Writes, commits and pushes without telling the server."""
    write(repository, **what)
    return repository.commit(message)
