package admin

import (
	"net/http"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

// PolicyDesk takes the requests about the policy.
type PolicyDesk struct {
	State   func() api.Policy
	Explain func(api.PolicyQuery) (*api.PolicyAnswer, error)
	// Learn begins a learning run, Learned tells what the latest one has
	// learned, and StopLearning ends it.
	Learn        func(api.Learn) (api.Learning, error)
	Learned      func() (api.Learning, error)
	StopLearning func() (api.Learning, error)
}

func (s *Server) policy(w http.ResponseWriter, _ *http.Request) { answer(w, s.opts.Policy.State()) }

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var q api.PolicyQuery
	if err := decode(w, r, &q); err != nil {
		fail(w, err)
		return
	}
	reply(w)(s.opts.Policy.Explain(q))
}

func (s *Server) learn(w http.ResponseWriter, r *http.Request) {
	var q api.Learn
	if err := decode(w, r, &q); err != nil {
		fail(w, err)
		return
	}
	reply(w)(s.opts.Policy.Learn(q))
}

func (s *Server) learned(w http.ResponseWriter, _ *http.Request) { reply(w)(s.opts.Policy.Learned()) }

func (s *Server) stopLearning(w http.ResponseWriter, _ *http.Request) {
	reply(w)(s.opts.Policy.StopLearning())
}

// reply answers with a value, or with the error beside it.
func reply(w http.ResponseWriter) func(v any, err error) {
	return func(v any, err error) {
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, v)
	}
}
