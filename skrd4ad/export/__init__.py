"""A model in other runtimes: conversion, manifest, comparison with torch, certificate."""
