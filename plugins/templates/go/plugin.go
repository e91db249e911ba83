// Package plugin does what this plugin is for.
package plugin

import (
	"context"
	"errors"

	"lockgate"
)

// Config is what `config = { .. }` holds where the plugin is used.
type Config struct {
	Message string `json:"message"`
}

// Plugin has the plugin's hooks as its methods.
type Plugin struct {
	config Config
}

// New is called once for each instance.
func New(config Config) (*Plugin, error) {
	if config.Message == "" {
		return nil, errors.New("message: must not be empty")
	}
	return &Plugin{config}, nil
}
{{each code}}
