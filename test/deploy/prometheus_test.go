//go:build linux

package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// prometheus is a running server.
type prometheus struct {
	url          string
	since, until time.Time // what ask looks at
}

// startPrometheus has Debian's Prometheus scrape a fleet every second, and evaluate the rules as often.
func startPrometheus(t *testing.T, f *fleet) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(prometheusDir)
	if err != nil {
		t.Fatal(err)
	}
	var targets []object
	for _, p := range f.proxies {
		targets = append(targets, object{"targets": []string{p.admin}, "labels": object{"instance": p.name}})
	}
	config := filepath.Join(dir, "prometheus.yml")
	writeJSON(t, config, object{
		"global":         object{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{rules + "/recording.yml", rules + "/alerts.yml"},
		"scrape_configs": []object{{"job_name": "scriptproxy", "static_configs": targets}},
	})
	addr := "127.0.0.1:" + strconv.Itoa(redisserver.FreePort(t))
	startProgram(t, nil, installed(t, "prometheus"), "--config.file="+config, "--web.listen-address="+addr,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--log.level=warn")
	p := &prometheus{url: "http://" + addr, since: time.Now()}
	eventually(t, "ready Prometheus", func() error { return answers(p.url + "/-/ready") })
	return p
}

// get asks the API and decodes what it answers.
func (p *prometheus) get(path string, query url.Values, into any) error {
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.PostForm(p.url+path, query)
	if resp != nil && resp.StatusCode == http.StatusMethodNotAllowed {
		resp.Body.Close()
		resp, err = client.Get(p.url + path + "?" + query.Encode())
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", path, resp.Status, err)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// series is one of a query's answer, with its last value that is a number.
type series struct {
	labels map[string]string
	value  float64
}

// errNoData is the error of a query that is right and has no answer.
var errNoData = errors.New("no data")

// ask evaluates an expression every second from since to until, and returns the series that have a number somewhere. None is
// an error.
func (p *prometheus) ask(expr string) ([]series, error) {
	var answer struct {
		Result []struct {
			Metric map[string]string
			Values [][2]any
		}
	}
	err := p.get("/api/v1/query_range", url.Values{
		"query": {expr}, "step": {"1"}, "start": {seconds(p.since)}, "end": {seconds(p.until)},
	}, &answer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	var found []series
	for _, r := range answer.Result {
		for i := len(r.Values) - 1; i >= 0; i-- {
			text, _ := r.Values[i][1].(string)
			if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
				found = append(found, series{r.Metric, v})
				break
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %w", expr, errNoData)
	}
	return found, nil
}

func seconds(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1e3, 'f', 3, 64)
}

// interpolate replaces a dashboard's variables by what a short test has: everything, and ten seconds.
func interpolate(expr string, d dashboard) string {
	pairs := []string{"$__rate_interval", "10s", "$__interval", "10s", "$__range", "20s"}
	for _, v := range d.Templating.List {
		all := v.AllValue
		pairs = append(pairs, "${"+v.Name+"}", all, "$"+v.Name, all)
	}
	return strings.NewReplacer(pairs...).Replace(expr)
}
