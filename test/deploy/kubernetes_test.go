//go:build linux

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	chartDir     = root + "/deploy/helm/scriptproxy"
	kustomizeDir = root + "/deploy/kustomize"
	// kubeVersion is that of the schemas; helm itself would take 1.20.
	kubeVersion = "1.34.2"
)

var (
	helm        = built("helm", "tools", "helm.sh/helm/v3/cmd/helm")
	kustomize   = built("kustomize", "tools", "sigs.k8s.io/kustomize/kustomize/v5")
	kubeconform = built("kubeconform", "tools", "github.com/yannh/kubeconform/cmd/kubeconform")
)

// schemas returns the directory of Kubernetes' schemas, which is made once.
func schemas(t *testing.T) string {
	t.Helper()
	schemasOnce.Do(func() {
		schemasErr = fmt.Errorf("a test that made them failed")
		must(t, ".", tools(t), "schemas", filepath.Join(scratch, "schemas"))
		schemasErr = nil
	})
	if schemasErr != nil {
		t.Fatalf("no schemas: %v", schemasErr)
	}
	return filepath.Join(scratch, "schemas")
}

var (
	schemasOnce sync.Once
	schemasErr  error
)

// conform checks manifests against Kubernetes' schemas. A kind without one is an error too.
func conform(t *testing.T, manifests string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(path, []byte(manifests), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := output(".", kubeconform(t), "-summary", "-schema-location",
		schemas(t)+"/{{.Group}}-{{.ResourceAPIVersion}}-{{.ResourceKind}}.json", path)
	return err
}

// manifest is a Kubernetes object.
type manifest map[string]any

func (m manifest) kind() string { return m["kind"].(string) }

func (m manifest) name() string { return m["metadata"].(map[string]any)["name"].(string) }

// at returns what is at a path of keys and indices, nil when there is nothing.
func (m manifest) at(path ...any) any {
	var v any = map[string]any(m)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			mapping, _ := v.(map[string]any)
			v = mapping[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}

// parse decodes manifests, without those that are empty.
func parse(t *testing.T, text string) []manifest {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var all []manifest
	for line := range strings.Lines(must(t, ".", tools(t), "json", path)) {
		var m manifest
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func find(t *testing.T, all []manifest, kind, name string) manifest {
	t.Helper()
	for _, m := range all {
		if m.kind() == kind && m.name() == name {
			return m
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

// template renders a chart.
func template(t *testing.T, chart string, more ...string) (string, error) {
	t.Helper()
	args := []string{"template", "r", chart, "--namespace", "redis", "--kube-version", kubeVersion}
	return outputOf(helmHome(t), ".", helm(t), append(args, more...)...)
}

// helmHome keeps helm from the user's own settings.
func helmHome(t *testing.T) []string {
	dir := t.TempDir()
	return []string{"HELM_CACHE_HOME=" + dir, "HELM_CONFIG_HOME=" + dir, "HELM_DATA_HOME=" + dir}
}

func rendered(t *testing.T, chart string, more ...string) string {
	t.Helper()
	text, err := template(t, chart, more...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const everything = "serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboards.enabled=true," +
	"upstreamPassword.secretName=yes,registryPassword.secretName=no,scripts.transfer.v1=return 1,scripts.transfer.v2=return 2," +
	"config.scripts.list[0].name=transfer,config.scripts.list[0].active=v1,rules.default=deny,config.policy.mode=audit"

func TestTheChartIsValid(t *testing.T) {
	must(t, ".", helm(t), "lint", "--strict", chartDir)
	for name, c := range map[string]struct {
		set   string
		kinds []string
	}{
		"as it is": {"", []string{"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Secret",
			"Service", "Service", "ServiceAccount"}},
		"with everything": {everything, []string{"ConfigMap", "ConfigMap", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy",
			"PodDisruptionBudget", "PrometheusRule", "Secret", "Service", "Service", "ServiceAccount", "ServiceMonitor"}},
		"one proxy": {"autoscaling.enabled=false,replicaCount=1,config.registry.store=file,podDisruptionBudget.enabled=false," +
			"networkPolicy.enabled=false,serviceAccount.create=false,topologySpread.enabled=false,tokens.secretName=mine",
			[]string{"ConfigMap", "Deployment", "Service", "Service"}},
		"sidecar": {"mode=sidecar", []string{"ConfigMap", "Secret"}},
	} {
		text := rendered(t, chartDir, "--set", c.set)
		if err := conform(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var kinds []string
		for _, m := range parse(t, text) {
			kinds = append(kinds, m.kind())
		}
		if slices.Sort(kinds); !slices.Equal(kinds, c.kinds) {
			t.Errorf("%s: the chart makes %v, want %v", name, kinds, c.kinds)
		}
	}
}

func TestTheChartRefusesValuesThatMakeNoSense(t *testing.T) {
	for set, want := range map[string]string{
		"mode=both":                       "mode",
		"replicas=3":                      "replicas",
		"config.listen=0.0.0.0:1":         "config",
		"config.upstream.primary=":        "primary",
		"ports.redis=70000":               "redis",
		"image.digest=sha256:12":          "digest",
		"scripts.transfer=return 1":       "transfer",
		"config.registry.store=file":      "several proxies need a shared registry",
		"networkPolicy.upstreamPorts[0]=": "upstreamPorts",
	} {
		_, err := template(t, chartDir, "--set", set)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error about %s", set, err, want)
		}
	}
}

func TestAMistakeInAManifestIsFound(t *testing.T) {
	good := rendered(t, chartDir, "--set", everything)
	for _, change := range [][2]string{
		{"readinessProbe:", "readinessProb:"},
		{"port: admin}", "prt: admin}"},
		{"maxUnavailable: 1", "maxUnavailable: [1]"},
		{"averageUtilization: 60", "averageUtilization: most"},
		{"kind: ServiceMonitor", "kind: ServiceMonitors"},
		{"interval: 15s", "intervall: 15s"},
	} {
		if !strings.Contains(good, change[0]) {
			t.Errorf("the chart does not make %q", change[0])
		}
		if conform(t, strings.Replace(good, change[0], change[1], 1)) == nil {
			t.Errorf("a manifest with %q passes", change[1])
		}
	}
}

// TestAMistakeInTheChartIsFound makes it where a person would: in the chart, before it is rendered.
func TestAMistakeInTheChartIsFound(t *testing.T) {
	for _, c := range []struct{ file, old, new string }{
		{"templates/poddisruptionbudget.yaml", "maxUnavailable:", "maxUnavailabel:"},
		{"templates/service.yaml", "kind: Service", "kind: Services"},
		{"templates/networkpolicy.yaml", "include \"scriptproxy.selectorLabels\"", "include \"scriptproxy.selectorLabel\""},
		{"values.yaml", "maxReplicas: 6", "maxReplicas: six"},
	} {
		dir := broken(t, chartDir, c.file, c.old, c.new)
		text, err := template(t, dir)
		if err == nil {
			err = conform(t, text)
		}
		if err == nil {
			t.Errorf("a chart with %q in %s passes", c.new, c.file)
		}
	}
}

// mounted lays out a ConfigMap's or Secret's volume as the kubelet does: the files are behind two symbolic links.
func mounted(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, "..2026_01_01", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(name, "/")
		if err := os.Symlink("..data/"+first, filepath.Join(dir, first)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("..2026_01_01", filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// accepted has scriptproxy check the configuration of a pod, with its volumes where the container would have them.
func accepted(t *testing.T, all []manifest, pod manifest) {
	t.Helper()
	dir := t.TempDir()
	var container manifest
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := pod.at("spec", "template", "spec", list).([]any)
		for _, c := range containers {
			if m := manifest(c.(map[string]any)); m.at("name") == "scriptproxy" {
				container = m
			}
		}
	}
	mounts, _ := container.at("volumeMounts").([]any)
	volumes, _ := pod.at("spec", "template", "spec", "volumes").([]any)
	for _, mount := range mounts {
		at := manifest(mount.(map[string]any))
		index := slices.IndexFunc(volumes, func(v any) bool { return v.(map[string]any)["name"] == at["name"] })
		if index < 0 {
			t.Fatalf("the pod has no volume %v", at["name"])
		}
		volume := manifest(volumes[index].(map[string]any))
		files := map[string]string{}
		if name, ok := volume.at("configMap", "name").(string); ok {
			data, _ := find(t, all, "ConfigMap", name).at("data").(map[string]any)
			items, _ := volume.at("configMap", "items").([]any)
			for key, text := range data {
				path := key
				for _, item := range items {
					if i := item.(map[string]any); i["key"] == key {
						path = i["path"].(string)
					}
				}
				files[path] = text.(string)
			}
		} else if volume.at("secret") != nil {
			files = map[string]string{"read": "r", "admin": "a", "password": "p"}
		}
		for name, text := range files {
			files[name] = strings.ReplaceAll(text, "/etc/scriptproxy/", dir+"/etc/scriptproxy/")
		}
		to := filepath.Join(dir, at["mountPath"].(string))
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		mounted(t, to, files)
	}
	args, _ := container.at("args").([]any)
	if len(args) != 3 {
		t.Fatalf("the container's arguments are %v", args)
	}
	must(t, ".", scriptproxy(t), "check", "-config", dir+args[2].(string))
}

func TestTheProxyAcceptsTheChartsConfiguration(t *testing.T) {
	for name, set := range map[string]string{"as it is": "", "with everything": everything} {
		t.Run(name, func(t *testing.T) {
			all := parse(t, rendered(t, chartDir, "--set", set))
			accepted(t, all, find(t, all, "Deployment", "r-scriptproxy"))
		})
	}
}

func TestThePodIsGivenTheTimeItNeedsToDrain(t *testing.T) {
	all := parse(t, rendered(t, chartDir))
	pod := find(t, all, "Deployment", "r-scriptproxy")
	config := parse(t, find(t, all, "ConfigMap", "r-scriptproxy").at("data", "config.yaml").(string))[0]
	drain, err := time.ParseDuration(config.at("limits", "drain_timeout").(string))
	if err != nil {
		t.Fatal(err)
	}
	container := []any{"spec", "template", "spec", "containers", 0}
	pause := pod.at(append(container, "lifecycle", "preStop", "sleep", "seconds")...).(float64)
	grace := pod.at("spec", "template", "spec", "terminationGracePeriodSeconds").(float64)
	if need := pause + drain.Seconds(); grace <= need {
		t.Errorf("the pod is killed after %v s, and needs %v", grace, need)
	}
	// Readiness has to be seen before the pause is over, and liveness must not end a drain.
	period := pod.at(append(container, "readinessProbe", "periodSeconds")...).(float64)
	if pod.at(append(container, "readinessProbe", "httpGet", "path")...) != "/readyz" || period >= pause {
		t.Errorf("readiness is asked every %v s, and the pod waits for %v s", period, pause)
	}
	if path := pod.at(append(container, "livenessProbe", "httpGet", "path")...); path != "/livez" {
		t.Errorf("liveness is asked at %v", path)
	}
}

// sidecarChart returns a copy of the example chart with its dependency in place.
func sidecarChart(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	// cp keeps the links from the chart to the rules and dashboards.
	if out, err := exec.Command("cp", "-r", root+"/deploy/helm", root+"/deploy/prometheus", root+"/deploy/grafana", dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the charts: %v\n%s", err, out)
	}
	chart := filepath.Join(dir, "helm/example-sidecar")
	if _, err := outputOf(helmHome(t), ".", helm(t), "dependency", "update", chart); err != nil {
		t.Fatal(err)
	}
	return chart
}

func TestTheExampleHasTheSidecarInItsPods(t *testing.T) {
	chart := sidecarChart(t)
	must(t, ".", helm(t), "lint", "--strict", chart)
	text := rendered(t, chart)
	if err := conform(t, text); err != nil {
		t.Error(err)
	}
	all := parse(t, text)
	pod := find(t, all, "Deployment", "r-checkout")
	accepted(t, all, pod)
	sidecar := manifest(pod.at("spec", "template", "spec", "initContainers", 0).(map[string]any))
	if sidecar["name"] != "scriptproxy" || sidecar["restartPolicy"] != "Always" {
		t.Errorf("the first init container is %v, restarted %v", sidecar["name"], sidecar["restartPolicy"])
	}
}

// generated are the files for kustomize that come from the charts, by path.
func generated(t *testing.T) map[string]string {
	t.Helper()
	const set = "fullnameOverride=scriptproxy,tokens.secretName=scriptproxy-tokens,scripts.transfer.v1=x,serviceMonitor.enabled=true,prometheusRule.enabled=true"
	tier := parse(t, rendered(t, chartDir, "--set", set))
	side := parse(t, rendered(t, sidecarChart(t), "--set",
		"scriptproxy.fullnameOverride=scriptproxy,scriptproxy.tokens.secretName=scriptproxy-tokens"))
	var objects, monitoring []manifest
	for _, m := range tier {
		withoutHelm(m)
		switch m.kind() {
		case "ConfigMap":
		case "ServiceMonitor", "PrometheusRule":
			monitoring = append(monitoring, m)
		default:
			objects = append(objects, m)
		}
	}
	pod := manifest(find(t, side, "Deployment", "r-checkout").at("spec", "template", "spec").(map[string]any))
	patch := manifest{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "any"},
		"spec": object{"template": object{"spec": object{"initContainers": pod["initContainers"], "volumes": pod["volumes"]}}},
	}
	return map[string]string{
		"tier/scriptproxy.yaml":      toYAML(t, objects),
		"tier/config.yaml":           header + find(t, tier, "ConfigMap", "scriptproxy").at("data", "config.yaml").(string) + "\n",
		"monitoring/monitoring.yaml": toYAML(t, monitoring),
		"sidecar/patch.yaml":         toYAML(t, []manifest{patch}),
		"sidecar/config.yaml":        header + find(t, side, "ConfigMap", "scriptproxy").at("data", "config.yaml").(string) + "\n",
	}
}

const header = "# Generated from the chart: go test ./test/deploy -run TestKustomize -update\n"

// withoutHelm takes out what says that Helm made an object, and the release's name.
func withoutHelm(m manifest) {
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance"} {
				delete(v, label)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(map[string]any(m))
}

func toYAML(t *testing.T, all []manifest) string {
	t.Helper()
	var lines strings.Builder
	for _, m := range all {
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(text, '\n'))
	}
	path := filepath.Join(t.TempDir(), "manifests.json")
	if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return header + must(t, ".", tools(t), "yaml", path)
}

func TestKustomizeGivesWhatTheChartGives(t *testing.T) {
	for name, want := range generated(t) {
		path := filepath.Join(kustomizeDir, name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what the chart gives: run go test ./test/deploy -run TestKustomize -update (%v)", name, err)
		}
	}
	for name, deployment := range map[string]string{"tier": "scriptproxy", "example-tier": "scriptproxy", "example-sidecar": "checkout"} {
		text := must(t, ".", kustomize(t), "build", filepath.Join(kustomizeDir, name))
		if err := conform(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all := parse(t, text)
		accepted(t, all, find(t, all, "Deployment", deployment))
	}
	text := must(t, ".", kustomize(t), "build", filepath.Join(kustomizeDir, "example-tier"))
	if conform(t, strings.Replace(text, "scaleTargetRef:", "scaleTarget:", 1)) == nil {
		t.Error("a manifest with scaleTarget passes")
	}
}
