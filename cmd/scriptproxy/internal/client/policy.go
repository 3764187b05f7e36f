package client

import (
	"context"
	"net/http"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

// Policy returns the rules in force, and what each of them did.
func (c *Client) Policy(ctx context.Context) (*api.Policy, error) {
	return get[api.Policy](ctx, c, "/api/v1/policy", nil)
}

// ExplainPolicy says what becomes of a call, and which rule decides.
func (c *Client) ExplainPolicy(ctx context.Context, q api.PolicyQuery) (*api.PolicyAnswer, error) {
	return send[api.PolicyAnswer](ctx, c, http.MethodPost, "/api/v1/policy/explain", 0, q)
}

const learnPath = "/api/v1/policy/learn"

// Learn begins a learning run.
func (c *Client) Learn(ctx context.Context, l api.Learn) (*api.Learning, error) {
	return send[api.Learning](ctx, c, http.MethodPost, learnPath, 0, l)
}

// Learned returns what the latest learning run has learned up to now.
func (c *Client) Learned(ctx context.Context) (*api.Learning, error) {
	return get[api.Learning](ctx, c, learnPath, nil)
}

// StopLearning ends the learning run, and returns what it has learned.
func (c *Client) StopLearning(ctx context.Context) (*api.Learning, error) {
	return send[api.Learning](ctx, c, http.MethodDelete, learnPath, 0, nil)
}
