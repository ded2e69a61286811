// Everything: energy model, meters, plan, modules, pruning, ops, errors.
#pragma once
#include <jouleprune/count.h>
#include <jouleprune/energy.h>
#include <jouleprune/error.h>
#include <jouleprune/marginals.h>
#include <jouleprune/meters.h>
#include <jouleprune/nn.h>
#include <jouleprune/nn_attention.h>
#include <jouleprune/nn_sequence.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_int8.h>
#include <jouleprune/ops_nm.h>
#include <jouleprune/ops_recurrent.h>
#include <jouleprune/plan.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>
#include <jouleprune/version.h>
