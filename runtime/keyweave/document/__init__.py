"""Documents: conversion between JSON and records, with unknown members kept and renamed fields read."""
