package app

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy"
)

// maxLearning bounds a learning run: one that nobody ends must not go on for
// ever.
const maxLearning = 31 * 24 * time.Hour

// learning is a run that records what is called. Its fields do not change but
// for those that mu guards.
type learning struct {
	learn          *proxy.Learner
	started, until time.Time
	timer          *time.Timer

	mu    sync.Mutex
	ended bool
}

// learner is what a generation records with; nil when nobody learns.
func (l *learning) learner() *proxy.Learner {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil
	}
	return l.learn
}

// state describes the run, with the rules when they are asked for.
func (l *learning) state(withRules bool) api.Learning {
	out := api.Learning{Running: l.learner() != nil, Started: l.started, Calls: l.learn.Recorder().Len(), Notes: []string{}}
	l.mu.Lock()
	out.Until = l.until
	l.mu.Unlock()
	if !withRules {
		return out
	}
	spec, notes := l.learn.Recorder().Spec()
	out.Notes = append(append(out.Notes, notes...), l.learn.Notes()...)
	text, err := config.FormatRules(spec, fmt.Sprintf(
		"Learned by scriptproxy from %s to %s: this allows what was called then, and nothing else.",
		l.started.UTC().Format(time.RFC3339), out.Until.UTC().Format(time.RFC3339)))
	if err != nil {
		out.Notes = append(out.Notes, err.Error())
	}
	out.Rules = string(text)
	return out
}

// startLearning begins a run. Only one runs at a time.
func (a *App) startLearning(q api.Learn) (api.Learning, error) {
	d, err := time.ParseDuration(q.For)
	if err != nil || d <= 0 || d > maxLearning {
		return api.Learning{}, invalid("'%s' is no time to learn for; write a duration such as 10m, at most %s", q.For, maxLearning)
	}
	options := policy.RecorderOptions{ExactSizes: q.ExactSizes, Container: a.isContainer}
	if q.Networks != nil && !*q.Networks {
		options.V4Bits, options.V6Bits = -1, -1
	}
	a.mu.Lock()
	if a.government.learning.learner() != nil {
		a.mu.Unlock()
		return api.Learning{}, &api.Error{Status: http.StatusConflict, Code: api.CodeBusy, Message: "a learning run is under way; stop it first"}
	}
	now := time.Now()
	run := &learning{learn: proxy.NewLearner(options), started: now, until: now.Add(d)}
	run.timer = time.AfterFunc(d, func() { a.endLearning(run) })
	a.government.learning = run
	a.mu.Unlock()
	a.publish()
	a.log.Info("a learning run has begun", "until", run.until)
	return run.state(false), nil
}

// isContainer reports whether a command has subcommands.
func (a *App) isContainer(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	cmd := a.commands.LookupString(name)
	return cmd != nil && cmd.IsContainer()
}

// endLearning ends a run, once.
func (a *App) endLearning(run *learning) {
	run.mu.Lock()
	ended := run.ended
	run.ended = true
	if !ended && time.Now().Before(run.until) {
		run.until = time.Now()
	}
	run.mu.Unlock()
	if ended {
		return
	}
	a.publish()
	a.server.Pass()
	run.learn.Stop()
	a.log.Info("a learning run has ended", "calls", run.learn.Recorder().Len())
}

// abandonLearning ends a run with the proxy.
func (a *App) abandonLearning() {
	a.mu.Lock()
	run := a.government.learning
	a.mu.Unlock()
	if run.learner() != nil && a.registry != nil {
		run.timer.Stop()
		a.endLearning(run)
	}
}

// stopLearning ends the run that is under way, and returns what it learned.
func (a *App) stopLearning() (api.Learning, error) {
	a.mu.Lock()
	run := a.government.learning
	a.mu.Unlock()
	if run.learner() == nil {
		return api.Learning{}, &api.Error{Status: http.StatusConflict, Code: api.CodeInvalid, Message: "no learning run is under way"}
	}
	run.timer.Stop()
	a.endLearning(run)
	return run.state(true), nil
}

// learned returns what the latest run has learned up to now.
func (a *App) learned() (api.Learning, error) {
	a.mu.Lock()
	run := a.government.learning
	a.mu.Unlock()
	if run == nil {
		return api.Learning{}, &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: "there was no learning run since the proxy was started"}
	}
	return run.state(true), nil
}
