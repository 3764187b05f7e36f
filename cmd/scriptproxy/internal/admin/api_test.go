package admin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

const transfer = "/api/v1/scripts/transfer"

func TestAChangeNeedsTheStateItWasDecidedOn(t *testing.T) {
	b := newBench(t, nil)
	seen := b.want(200, nil, "GET", transfer, "").Header.Get("ETag")

	var r api.Result
	first := b.want(200, &r, "POST", transfer+"/activate", `{"version": "v1", "who": "alice", "why": "test"}`, "If-Match", seen)
	if r.Script.Active != "v1" || r.Change.Who != "alice" || r.Change.Why != "test" || first.Header.Get("ETag") == seen {
		t.Errorf("%+v, ETag %s after %s", r, first.Header.Get("ETag"), seen)
	}

	var e api.Error
	b.want(http.StatusPreconditionFailed, &e, "POST", transfer+"/rollback", `{"who": "bob"}`, "If-Match", seen)
	if e.Code != api.CodeConflict || e.Current == nil || e.Current.Active != "v1" || e.Revision != r.Revision || !strings.Contains(e.Message, "alice") {
		t.Errorf("%+v", e)
	}
	if active := b.reg.Snapshot().Script("transfer").Active; active != "v1" {
		t.Errorf("%s is active", active)
	}
}

func TestAChangeOfAnotherScriptIsNoConflict(t *testing.T) {
	b := newBench(t, nil)
	seen := b.want(200, nil, "GET", transfer, "").Header.Get("ETag")
	b.want(200, nil, "POST", "/api/v1/scripts/team%2Flock:a/tags", `{"tags": ["x"]}`)
	b.want(200, nil, "POST", transfer+"/activate", `{"version": "v1"}`, "If-Match", seen)
}

func TestNamesWithSlashesAreOnePartOfThePath(t *testing.T) {
	b := newBench(t, nil)
	var s api.Script
	b.want(200, &s, "GET", "/api/v1/scripts/team%2Flock:a", "")
	if s.Name != "team/lock:a" || len(s.Use) != 1 || s.Use[0].Calls != 7 {
		t.Errorf("%+v", s)
	}
}

func TestTagsAndKindsSelect(t *testing.T) {
	b := newBench(t, nil)
	for query, want := range map[string]int{"": 2, "?tag=lock": 1, "?tag=lock&tag=x": 0, "?kind=function": 0, "?kind=script": 2} {
		var list api.Scripts
		b.want(200, &list, "GET", "/api/v1/scripts"+query, "")
		if len(list.Scripts) != want {
			t.Errorf("%q selects %d scripts, want %d", query, len(list.Scripts), want)
		}
	}
}

func TestWhatCannotBeDoneIsSaidAndChangesNothing(t *testing.T) {
	b := newBench(t, nil)
	before := b.reg.Snapshot().Revision
	large := strings.Repeat("x", 10<<20)
	for _, c := range []struct {
		what, method, path, body string
		status                   int
		code, say                string
	}{
		{"an unknown script", "POST", "/api/v1/scripts/transfr/rollback", `{}`, 404, api.CodeNotFound, "did you mean transfer?"},
		{"an unknown version", "POST", transfer + "/activate", `{"version": "v9"}`, 404, api.CodeNotFound, "it has v2, v1"},
		{"no version", "POST", transfer + "/activate", `{}`, 400, api.CodeBadRequest, "version is missing"},
		{"a script that a node refuses", "POST", transfer + "/versions", `{"body": "refused"}`, 422, api.CodeNotLoaded, "node n1: it does not compile; nothing was changed"},
		{"an empty body", "POST", transfer + "/versions", `{}`, 422, api.CodeInvalid, "is empty"},
		{"10 MB", "POST", transfer + "/versions", `{"body": "` + large + `"}`, 422, api.CodeInvalid, "has 10485760 bytes; at most 1048576"},
		{"50 MB", "POST", transfer + "/versions", `{"body": "` + strings.Repeat(large, 5) + `"}`, 413, api.CodeInvalid, "more than"},
		{"an odd name", "POST", "/api/v1/scripts/a%20b/versions", `{"body": "return 1"}`, 422, api.CodeInvalid, `"a b": " " at position 2`},
		{"a newline in a name", "POST", "/api/v1/scripts/a%0Ab/versions", `{"body": "return 1"}`, 422, api.CodeInvalid, `is not allowed`},
		{"a dot as a name", "POST", "/api/v1/scripts/a%2F..%2Fb/versions", `{"body": "return 1"}`, 422, api.CodeInvalid, `".." part`},
		{"a sha as a name", "POST", "/api/v1/scripts/" + strings.Repeat("a", 40) + "/versions", `{"body": "return 1"}`, 422, api.CodeInvalid, "taken for a sha"},
		{"a body twice", "POST", transfer + "/versions", `{"version": "v3", "body": "return 1"}`, 422, api.CodeInvalid, "is version v1 already"},
		{"another contract", "POST", transfer + "/canary", `{"version": "v1", "percent": 101}`, 422, api.CodeInvalid, "0.01 to 100"},
		{"a canary that is not there", "POST", transfer + "/promote", `{}`, 422, api.CodeInvalid, "no canary is running"},
		{"the active version retired", "POST", transfer + "/retire", `{"version": "v2"}`, 422, api.CodeInvalid, "calls by name would fail"},
		{"another answer", "POST", transfer + "/retire", `{"version": "v1", "answer": "silence"}`, 422, api.CodeInvalid, `not "silence"`},
		{"a misspelt field", "POST", transfer + "/activate", `{"version": "v1", "forse": true}`, 400, api.CodeBadRequest, `unknown field "forse"`},
		{"no JSON", "POST", transfer + "/activate", `version=v1`, 400, api.CodeBadRequest, "can't be read"},
		{"two requests", "POST", transfer + "/activate", `{"version": "v1"}{}`, 400, api.CodeBadRequest, "behind its JSON"},
		{"a class that is none", "POST", transfer + "/versions", `{"body": "return 3", "class": "reed"}`, 400, api.CodeBadRequest, "reed"},
		{"a kind that is none", "POST", transfer + "/versions", `{"body": "return 3", "kind": "module"}`, 400, api.CodeBadRequest, "module"},
		{"an active version removed", "DELETE", transfer + "/versions/v2", ``, 422, api.CodeInvalid, "activate another first"},
		{"an unknown call", "POST", transfer + "/explode", `{}`, 404, api.CodeNotFound, "docs/openapi.yaml"},
		{"a method that is not there", "PATCH", transfer, ``, 404, api.CodeNotFound, "PATCH"},
		{"a limit that is no number", "GET", "/api/v1/audit?limit=x", ``, 400, api.CodeBadRequest, "limit"},
		{"a time that is none", "GET", "/api/v1/wait?timeout=1", ``, 400, api.CodeBadRequest, "timeout"},
		{"a reload that fails", "POST", "/-/reload", ``, 400, api.CodeBadRequest, "c.yaml:1: no such key"},
	} {
		var e api.Error
		b.want(c.status, &e, c.method, c.path, c.body)
		if e.Code != c.code || !strings.Contains(e.Message, c.say) {
			t.Errorf("%s: got %q (%s), want it to say %q (%s)", c.what, e.Message, e.Code, c.say, c.code)
		}
	}
	if after := b.reg.Snapshot().Revision; after != before {
		t.Errorf("the registry went from revision %d to %d", before, after)
	}
}

func TestAContractThatDiffersNeedsForce(t *testing.T) {
	b := newBench(t, nil)
	b.want(200, nil, "POST", transfer+"/versions", `{"body": "return KEYS"}`)
	var e api.Error
	b.want(422, &e, "POST", transfer+"/activate", `{"version": "v3"}`)
	if e.Code != api.CodeContract || !strings.Contains(e.Message, "number of keys 1, was 0") {
		t.Errorf("%+v", e)
	}
	var r api.Result
	b.want(200, &r, "POST", transfer+"/activate", `{"version": "v3", "force": true}`)
	if !r.Change.Forced || r.Script.Active != "v3" {
		t.Errorf("%+v", r)
	}
}

func TestABadIfMatchIsNotTakenForNone(t *testing.T) {
	b := newBench(t, nil)
	for _, v := range []string{"x", `"x"`, `W/"1"`, "0", `"-1"`} {
		var e api.Error
		b.want(400, &e, "POST", transfer+"/rollback", `{}`, "If-Match", v)
		if !strings.Contains(e.Message, "If-Match") {
			t.Errorf("%q: %s", v, e.Message)
		}
	}
}

func TestABodyThatIsNotTextTravelsInBase64(t *testing.T) {
	b := newBench(t, nil)
	b.want(200, nil, "POST", transfer+"/versions", `{"version": "bin", "body_base64": "cmV0dXJuICf/Jw=="}`)
	var v api.Version
	b.want(200, &v, "GET", transfer+"/versions/bin", "")
	if v.Body != "" || string(v.BodyBase64) != "return '\xff'" {
		t.Errorf("%q, %q", v.Body, v.BodyBase64)
	}
}

func TestWaitAnswersWithWhoIsBehind(t *testing.T) {
	b := newBench(t, nil)
	var fleet api.Fleet
	b.want(200, &fleet, "GET", "/api/v1/wait", "")
	if len(fleet.Instances) != 1 || fleet.Revision != 1 {
		t.Errorf("%+v", fleet)
	}
	var e api.Error
	b.want(http.StatusGatewayTimeout, &e, "GET", "/api/v1/wait?revision=99&timeout=20ms", "")
	if e.Code != api.CodeTimeout || len(e.Behind) != 1 || e.Behind[0].ID != "here" {
		t.Errorf("%+v", e)
	}
}

func TestReadinessSaysEveryReason(t *testing.T) {
	b := newBench(t, nil)
	resp := b.want(503, nil, "GET", "/readyz", "")
	if resp.Header.Get("Content-Type") == "application/json" {
		t.Error("readyz answers JSON")
	}
}

func TestCompactionIsToldStepByStep(t *testing.T) {
	b := newBench(t, nil)
	for body, want := range map[string]string{
		`{}`:                    `"step":"end"`,
		`{"nodes": ["broken"]}`: `"step":"failed","error":"node broken: it broke","code":"internal"`,
	} {
		resp := b.request("POST", "/api/v1/cache/compact", body)
		var text strings.Builder
		if _, err := copyAll(&text, resp); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		if resp.StatusCode != 200 || !strings.Contains(lines[0], `"step":"start"`) || !strings.Contains(lines[len(lines)-1], want) {
			t.Errorf("%s: status %d, %s", body, resp.StatusCode, text.String())
		}
	}
	var e api.Error
	b.want(409, &e, "POST", "/api/v1/cache/compact", `{"nodes": ["foreign"]}`)
	if e.Code != api.CodeForeign {
		t.Errorf("%+v", e)
	}
}
