package admin

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

func copyAll(w io.Writer, resp *http.Response) (int64, error) { return io.Copy(w, resp.Body) }

func TestTokensSeparateReadersFromOperators(t *testing.T) {
	b := newBench(t, func(o *Options) { o.ReadToken, o.AdminToken = "reader", "operator" })
	for _, c := range []struct {
		token, method, path string
		status              int
	}{
		{"", "GET", "/livez", 200},
		{"", "GET", "/readyz", 503},
		{"", "GET", "/metrics", 401},
		{"", "GET", "/api/v1/scripts", 401},
		{"wrong", "GET", "/api/v1/scripts", 401},
		{"reader", "GET", "/api/v1/scripts", 200},
		{"reader", "GET", "/metrics", 200},
		{"reader", "GET", "/debug/pprof/", 403},
		{"reader", "POST", transfer + "/rollback", 403},
		{"reader", "DELETE", transfer, 403},
		{"reader", "POST", "/api/v1/cache/compact", 403},
		{"operator", "GET", "/api/v1/scripts", 200},
		{"operator", "POST", transfer + "/rollback", 422},
	} {
		header := []string{}
		if c.token != "" {
			header = []string{"Authorization", "Bearer " + c.token}
		}
		resp := b.request(c.method, c.path, "", header...)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s with %q: status %d, want %d", c.method, c.path, c.token, resp.StatusCode, c.status)
		}
		if c.status == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s: no WWW-Authenticate", c.method, c.path)
		}
	}
}

func TestOnlyAReadTokenLeavesNobodyToChangeThings(t *testing.T) {
	b := newBench(t, func(o *Options) { o.ReadToken = "reader" })
	b.want(403, nil, "POST", transfer+"/rollback", "", "Authorization", "Bearer reader")
	b.want(401, nil, "POST", transfer+"/rollback", "")
}

func TestBrowsersCannotBeMadeToAsk(t *testing.T) {
	b := newBench(t, nil)
	b.srv.local = true
	for _, c := range []struct {
		header []string
		status int
	}{
		{nil, 200},
		{[]string{"Host", "localhost:9380"}, 200},
		{[]string{"Host", "[::1]:9380"}, 200},
		{[]string{"Host", "127.0.0.1"}, 200},
		{[]string{"Host", "evil.example"}, 403},
		{[]string{"Host", "127.0.0.1.evil.example:9380"}, 403},
		{[]string{"Host", ""}, 403},
		{[]string{"Origin", "http://127.0.0.1:9380"}, 200},
		{[]string{"Origin", "http://127.0.0.1:1"}, 403},
		{[]string{"Origin", "https://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
	} {
		var e api.Error
		resp := b.want(c.status, &e, "GET", "/api/v1/registry", "", c.header...)
		if c.status == 403 && (e.Code != api.CodeForbidden || e.Message == "") {
			t.Errorf("%v: %+v", c.header, e)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("pages elsewhere are let in")
		}
	}
	b.srv.local = false
	b.want(200, nil, "GET", "/api/v1/registry", "", "Host", "proxy.example:9380")
}

func TestFormsAreNotJSON(t *testing.T) {
	b := newBench(t, nil)
	var e api.Error
	b.want(http.StatusUnsupportedMediaType, &e, "POST", transfer+"/rollback", `{"version":"v1"}`, "Content-Type", "text/plain")
	if !strings.Contains(e.Message, "application/json") {
		t.Errorf("%+v", e)
	}
}

func TestWhichListenersAreForThisMachine(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9380": true, "[::1]:0": true, "localhost:1": true, "0.0.0.0:9380": false, ":9380": false, "10.0.0.1:1": false,
	} {
		if got := isLocal("tcp", address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if isLocal("unix", "/run/x") {
		t.Error("the names in requests over a unix socket mean nothing")
	}
}
