// Package config reads a plugin's configuration. It does a small part of what encoding/json does, in a twentieth of the size, and
// says what is wrong as an operator wants to read it: with the key.
package config

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Decode fills a struct, a map or another value from JSON. A struct's fields are called as their tag `json` says, or like
// themselves in lower case; a key that no field is called is an error. A time.Duration is a text such as "10s".
func Decode(text string, into any) error {
	parser := parser{text: text}
	value, err := parser.value()
	if err != nil {
		return err
	}
	return assign(reflect.ValueOf(into).Elem(), value, "")
}

type number string

func assign(to reflect.Value, from any, path string) error {
	if to.Type() == reflect.TypeFor[time.Duration]() {
		text, _ := from.(string)
		duration, err := time.ParseDuration(text)
		if err != nil {
			return wrong(path, "must be a duration, such as \"10s\"")
		}
		to.SetInt(int64(duration))
		return nil
	}
	switch to.Kind() {
	case reflect.Pointer:
		if from == nil {
			return nil
		}
		to.Set(reflect.New(to.Type().Elem()))
		return assign(to.Elem(), from, path)
	case reflect.Interface:
		if from != nil {
			to.Set(reflect.ValueOf(plain(from)))
		}
		return nil
	case reflect.Struct:
		return assignStruct(to, from, path)
	case reflect.Map:
		return assignMap(to, from, path)
	case reflect.Slice:
		list, ok := from.([]any)
		if !ok {
			return wrong(path, "must be a list")
		}
		to.Set(reflect.MakeSlice(to.Type(), len(list), len(list)))
		for i, element := range list {
			if err := assign(to.Index(i), element, path+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
		return nil
	default:
		return assignScalar(to, from, path)
	}
}

func assignScalar(to reflect.Value, from any, path string) error {
	switch to.Kind() {
	case reflect.String:
		text, ok := from.(string)
		if !ok {
			return wrong(path, "must be a text")
		}
		to.SetString(text)
	case reflect.Bool:
		flag, ok := from.(bool)
		if !ok {
			return wrong(path, "must be true or false")
		}
		to.SetBool(flag)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		digits, _ := from.(number)
		value, err := strconv.ParseInt(string(digits), 10, to.Type().Bits())
		if err != nil {
			return wrong(path, "must be a whole number of "+strconv.Itoa(to.Type().Bits())+" bits")
		}
		to.SetInt(value)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		digits, _ := from.(number)
		value, err := strconv.ParseUint(string(digits), 10, to.Type().Bits())
		if err != nil {
			return wrong(path, "must be a whole number of "+strconv.Itoa(to.Type().Bits())+" bits, not less than 0")
		}
		to.SetUint(value)
	case reflect.Float32, reflect.Float64:
		digits, _ := from.(number)
		value, err := strconv.ParseFloat(string(digits), 64)
		if err != nil {
			return wrong(path, "must be a number")
		}
		to.SetFloat(value)
	default:
		return wrong(path, "the plugin wants a "+to.Type().String()+" there, which no configuration can be")
	}
	return nil
}

func assignStruct(to reflect.Value, from any, path string) error {
	table, ok := from.(map[string]any)
	if !ok {
		return wrong(path, "must be a table")
	}
	known := map[string]int{}
	for i := range to.NumField() {
		name, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("json"), ",")
		if name == "" {
			name = strings.ToLower(to.Type().Field(i).Name)
		}
		known[name] = i
	}
	for key, value := range table {
		field, ok := known[key]
		if !ok {
			return wrong(within(path, key), "is not a key that the plugin knows")
		}
		if err := assign(to.Field(field), value, within(path, key)); err != nil {
			return err
		}
	}
	return nil
}

func assignMap(to reflect.Value, from any, path string) error {
	table, ok := from.(map[string]any)
	if !ok {
		return wrong(path, "must be a table")
	}
	to.Set(reflect.MakeMap(to.Type()))
	for key, value := range table {
		element := reflect.New(to.Type().Elem()).Elem()
		if err := assign(element, value, within(path, key)); err != nil {
			return err
		}
		to.SetMapIndex(reflect.ValueOf(key).Convert(to.Type().Key()), element)
	}
	return nil
}

// What an `any` gets: numbers are float64, as encoding/json has them.
func plain(from any) any {
	switch from := from.(type) {
	case number:
		value, _ := strconv.ParseFloat(string(from), 64)
		return value
	case []any:
		for i := range from {
			from[i] = plain(from[i])
		}
	case map[string]any:
		for key := range from {
			from[key] = plain(from[key])
		}
	}
	return from
}

func within(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func wrong(path, why string) error {
	if path == "" {
		return errors.New("the configuration " + why)
	}
	return errors.New(path + ": " + why)
}
